//! Whether the tests that the pages of `docs/` name are tests.

use std::path::Path;

use crate::source;

/// A test's name is a sentence: it has at least so many words.
const LEAST_WORDS: usize = 4;

fn named(page: &str) -> impl Iterator<Item = &str> {
    let spans = page.split('`').skip(1).step_by(2);
    let is_name =
        |span: &&str| span.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    spans.filter(is_name).filter(|name| name.split('_').count() >= LEAST_WORDS)
}

fn unknown<'p>(page: &'p str, tests: &str) -> Vec<&'p str> {
    // Cases that several stores pass are generic over the store.
    let is_there = |name: &&str| ["(", "<"].iter().any(|after| tests.contains(&format!("fn {name}{after}")));
    named(page).filter(|name| !is_there(name)).collect()
}

#[test]
fn a_name_that_is_no_test_is_found() {
    let page = "`an_order_is_lost_here` and `an_order_is_kept`, `possibly_written`, `acks=all`";
    assert_eq!(unknown(page, "async fn an_order_is_kept() {}"), ["an_order_is_lost_here"]);
}

#[test]
fn the_tests_that_the_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: String = source::all(root).iter().map(|source| source.tests().to_owned()).collect();
    for (page, least) in [("docs/guarantees.md", 40), ("docs/operating.md", 20)] {
        let page = std::fs::read_to_string(root.join(page)).expect("it is written down");
        assert!(named(&page).count() > least, "the page names the tests of each row");
        assert_eq!(unknown(&page, &tests), Vec::<&str>::new());
    }
}
