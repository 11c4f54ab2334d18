//! A ModelRoute as the API server or the disk gives it: refused by name or obeyed, and every slot is drawn for somebody.

#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use router::{Table, choose};

fuzz_target!(|bytes: &[u8]| {
    let Ok(route) = serde_json::from_slice::<api::ModelRoute>(bytes) else { return };
    let table = match Table::new(&route) {
        Ok(table) => table,
        Err(error) => return assert!(error.to_string().starts_with("spec.")),
    };
    for slot in [0, 1, 4_999, 9_999, 10_000, u16::MAX] {
        let choice = choose(&table, &HeaderMap::new(), slot);
        assert_eq!(choice.is_some(), table.pinned.or(table.drawn_for(slot)).is_some());
        assert!(choice.is_none_or(|choice| choice.revision < table.revisions.len()));
    }
    let text = serde_json::to_vec(&route).expect("a ModelRoute is JSON");
    let again = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(Table::new(&again), Ok(table), "the table on the disk is that of the API server");
});
