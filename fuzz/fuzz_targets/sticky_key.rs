//! Headers as a client sends them, against a table with a rule, targeting and a sticky key: every request has a slot, its
//! revision is one of the table, and the same headers are drawn for the same one.

#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use router::{Table, choose, slot_of_key};

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
    let key = table.sticky.as_ref().and_then(|name| headers.get(name));
    let slot = slot_of_key(&table.salt, key.map_or(&[][..], HeaderValue::as_bytes));
    assert!(slot < wire::SLOTS);
    let choice = choose(table, &headers, slot).expect("the table has a stable revision");
    assert!(choice.revision < table.revisions.len());
    assert_eq!(choose(table, &headers, slot), Some(choice));
});
