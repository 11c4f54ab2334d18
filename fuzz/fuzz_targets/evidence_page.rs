//! The evidence page of a router, which the operator reads: nothing panics, and what is taken is written and read again
//! as the same page.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Page;

fuzz_target!(|text: &str| {
    let Ok(page) = Page::parse(text) else { return };
    let again = Page::parse(&page.render()).expect("what a page writes can be read");
    assert_eq!(again, page);
});
