//! Headers as a client sends them, against a table with a rule, targeting and a sticky key, in a header and in a cookie: every request has a slot, its
//! revision is one of the table, and the same headers are drawn for the same one.

#![no_main]

use std::sync::LazyLock;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use router::{StickyRule, Table, choose, slot_of_key};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let route = serde_json::from_str(include_str!("../seeds/route_table/canary.json"));
    Table::new(&route.expect("the seed is a ModelRoute")).expect("the seed is obeyed")
});

fuzz_target!(|lines: Vec<(&[u8], &[u8])>| {
    let table = &*TABLE;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.into_iter().take(64) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        headers.append(name, value);
    }
    let cookie = StickyRule::Cookie("sluice".into());
    let keys = [table.sticky.as_ref().and_then(|rule| rule.key(&headers)), cookie.key(&headers)];
    for key in keys.into_iter().flatten() {
        assert!(!key.is_empty(), "an empty key is none");
    }
    if let Some(key) = keys[1] {
        assert!(!key.contains(&b';') && key.trim_ascii() == key, "one cookie alone");
        // What other cookies there are changes nothing.
        let line = [b"a=b; sluice=", key, b"; sluice=other"].concat();
        let line = HeaderValue::from_bytes(&line).expect("a part of a header's value is one");
        assert_eq!(cookie.key(&HeaderMap::from_iter([(COOKIE, line)])), Some(key));
    }
    let slot = slot_of_key(&table.salt, keys[0].or(keys[1]).unwrap_or_default());
    assert!(slot < wire::SLOTS);
    let choice = choose(table, &headers, slot).expect("the table has a stable revision");
    assert!(choice.revision < table.revisions.len());
    assert_eq!(choose(table, &headers, slot), Some(choice));
});
