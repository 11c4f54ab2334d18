//! Lines of later features, between routers and operators of different releases.

use super::*;

const KEY: &str = "uid=\"u\",generation=\"7\",pin=\"\",revision=\"new\",assignment=\"split\"";

fn with(lines: &str) -> Result<Page, PageError> {
    Page::parse(&format!("sluice_grid_version 2\nsluice_router_info{{instance=\"i\"}} 1\n{lines}\n# EOF\n"))
}

fn counts(page: &Page) -> &Counts {
    page.states.values().flat_map(|keys| keys.values()).next().unwrap()
}

// What one release writes another one reads: the text is fixed.
#[test]
fn golden_lines_of_cells() {
    let line =
        |feature: &str, cells: &str| format!("# SLUICE sluice_cells{{{KEY},feature=\"{feature}\"}} {cells}");
    let lines = [line("saturation", "0:3 41:7"), line("energy", "63:8796093022208")];
    let page = with(&lines.join("\n")).unwrap();
    let of = |feature: Feature| &counts(&page).features[feature.index()];
    assert_eq!((of(Feature::Saturation)[41], of(Feature::Energy)[63]), (7, MAX_COUNT));
    let text = page.render();
    assert_eq!(text.lines().filter(|line| line.contains("SLUICE")).collect::<Vec<_>>(), lines);
    let longest = Counts { features: vec![vec![MAX_COUNT; CELLS]; Feature::ALL.len()], ..Counts::default() };
    let mut text = String::new();
    super::super::cells::write(&mut text, "", &longest).unwrap();
    assert!(text.lines().all(|line| line.len() <= CELLS * 17 + 50), "{text}");
}

// rule: C4. An operator of the release before looks at sluice_input alone, and a page of that release has no such line.
#[test]
fn releases_with_and_without_later_features_read_each_other() {
    let mut counts = Counts { null_outputs: 1, ..Counts::default() };
    counts.features[Feature::Brightness.index()][3] = 2;
    let state = RouteState { uid: "u".into(), generation: 7, pin: None };
    let key = Key { revision: "new".into(), assignment: Assignment::Split };
    let page = |counts: &Counts| Page {
        instance: "i".into(),
        states: [(state.clone(), [(key.clone(), counts.clone())].into())].into(),
        ..Page::default()
    };
    let old = page(&counts).render();
    for feature in LATER_FEATURES {
        counts.features[feature.index()][5] = 2;
    }
    let new = page(&counts).render();
    let seen_by_old: Vec<&str> = new.lines().filter(|line| !line.starts_with("# SLUICE ")).collect();
    assert_eq!(seen_by_old, old.lines().collect::<Vec<_>>());
    let read = Page::parse(&old).unwrap();
    assert!(read.states[&state][&key].features[3..].iter().flatten().all(|n| *n == 0));
    assert_eq!(Page::parse(&new), Ok(page(&counts)));
    // One later still.
    assert!(with(&format!("# SLUICE sluice_cells{{{KEY},feature=\"hue\"}} whatever")).is_ok());
}

#[test]
fn cells_that_no_router_writes_are_refused() {
    // rule: C4
    let refused = |value: &str| {
        with(&format!("# SLUICE sluice_cells{{{KEY},feature=\"size\"}} {value}")).unwrap_err().to_string()
    };
    for value in ["", "64:1", "3", "3:0", "-1:3", "3:8796093022209", "3:1,4:2", "3:1  4:2", "a:1"] {
        let told = refused(value);
        let allowed = "is no cell below 64 with a count of 1 to 8796093022208, as 3:17";
        assert!(told.starts_with("line 3: cells of size: ") && told.ends_with(allowed), "{told}");
    }
    for value in ["3:1 3:1", "4:1 3:1"] {
        assert!(refused(value).ends_with("they ascend"), "{value}");
    }
    let line = format!("# SLUICE sluice_cells{{{KEY},feature=\"size\"}} 3:1");
    let twice = with(&format!("{line}\n{line}")).unwrap_err().to_string();
    assert_eq!(twice, "line 4: cells of size: a second time");
    let told = with("# SLUICE sluice_cells{feature=\"size\"} 3:1").unwrap_err().to_string();
    assert!(told.ends_with("is missing"), "{told}");
    let bucket = format!("sluice_input_bucket{{{KEY},feature=\"size\",le=\"+Inf\"}} 1");
    assert_eq!(with(&bucket).unwrap_err().to_string(), "line 3: unknown feature \"size\"");
}
