//! Orders of files: counts, places and identities, and the same entries by both ways through an array.

use proptest::prelude::*;

use super::*;
use crate::order::{DeliveryOrder, InventoryOrder};

const ORDERS: &[u8] = include_bytes!("../../../../fixtures/orders.json");
const MALFORMED: &[u8] = include_bytes!("../../../../fixtures/orders_malformed.json");

fn counts<O: Order>(file: &[u8]) -> (usize, usize, usize) {
    OrderReader::<O, _>::new(file).fold((0, 0, 0), |(orders, filtered, rejected), entry| match entry.unwrap() {
        Entry::Order(_) => (orders + 1, filtered, rejected),
        Entry::Filtered { .. } => (orders, filtered + 1, rejected),
        Entry::Rejected(_) => (orders, filtered, rejected + 1),
    })
}

#[test]
fn the_fixture_gives_13_inventory_and_21_delivery_orders() {
    assert_eq!(counts::<InventoryOrder>(ORDERS), (13, 21, 0));
    assert_eq!(counts::<DeliveryOrder>(ORDERS), (21, 13, 0));
    assert_eq!(counts::<DeliveryOrder>(MALFORMED), (0, 8, 0));
    assert_eq!(counts::<DeliveryOrder>(include_bytes!("../../../../fixtures/deliveries.json")), (12, 0, 0));
}

#[test]
fn the_malformed_fixture_gives_8_rejections_at_the_exact_places() {
    let rejections: Vec<_> = OrderReader::<InventoryOrder, _>::new(MALFORMED)
        .map(|entry| match entry.unwrap() {
            Entry::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        })
        .collect();
    let seen: Vec<_> = rejections.iter().map(|one| (one.line, one.column, one.violation.code().as_str())).collect();
    let lines = MALFORMED.split(|byte| *byte == b'\n').map(|line| std::str::from_utf8(line).unwrap());
    let value_at = |line: &str| line.find("\"timestamp\": ").map(|at| at as u64 + "\"timestamp\": ".len() as u64 + 1);
    let expected: Vec<_> =
        (1..).zip(lines).filter_map(|(at, line)| Some((at, value_at(line)?, "ORD-DATE-INVALID"))).collect();
    assert_eq!(seen, expected);
    assert_eq!(seen.len(), 8);
    assert_eq!(
        rejections[0].to_string(),
        "2:97: ORD-DATE-INVALID: `116/2023` is not a date M/D/YYYY or ISO 8601, or no such day exists (/timestamp)"
    );
    assert_eq!((rejections[0].entry_line, rejections[0].entry_column), (2, 3));
    assert!(rejections[7].bytes.starts_with(b"{\"order_id\": \"43\"") && rejections[7].bytes.ends_with(b"}"));
}

#[test]
fn identities_count_every_entry_good_or_bad_and_of_either_type() {
    let source = Source::of_digest([7; 32]);
    let all: Vec<_> = OrderReader::<InventoryOrder, _>::new(ORDERS).with_source(source).map(Result::unwrap).collect();
    for (place, entry) in all.iter().enumerate() {
        let expected = Identity::numbered(source, place as u64).unwrap();
        match entry {
            Entry::Order(located) => assert_eq!(located.order.identity(), Some(&expected)),
            Entry::Filtered { index } => assert_eq!(*index, place as u64),
            Entry::Rejected(rejection) => panic!("{rejection}"),
        }
    }
}

/// An order whose entries are always looked for before they are read.
#[derive(Clone, Debug, PartialEq)]
struct Sought(InventoryOrder);

impl Order for Sought {
    const TYPE: &'static str = InventoryOrder::TYPE;
    const TOPIC: &'static str = InventoryOrder::TOPIC;

    fn key(&self) -> &[u8] {
        self.0.key()
    }

    fn identity(&self) -> Option<&Identity> {
        self.0.identity()
    }

    fn set_identity(&mut self, identity: Identity) {
        self.0.set_identity(identity);
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(value: &[u8]) -> std::result::Result<Self, Violation> {
        InventoryOrder::decode(value).map(Self)
    }
}

/// Files in which good orders, orders of the other type and broken ones stand in every kind of neighbourhood.
fn files() -> impl Strategy<Value = String> {
    let good = r#"{"order_id": "1", "product_id": "2", "quantity": 3, "type": "inventory", "timestamp": "5/30/2023"}"#;
    let parts = vec![
        good.to_owned(),
        good.replace(' ', ""),
        good.replace("inventory", "delivery"),
        good.replace(": 3", ": 0"),
        good.replace("}", ",}"),
        good.replace("}", ""),
        good.replace("\"}", "}"),
        format!("{good},"),
        format!("{good} ,\n"),
    ];
    let glue = ["", ",", ",\n  ", "\n", " ", "]", "}", "[", "\u{e9}", " ,"].map(str::to_owned);
    let part = prop_oneof![prop::sample::select(parts), prop::sample::select(glue.to_vec())];
    let opening = prop::sample::select(vec!["[", "[\n  ", ""]);
    (opening, prop::collection::vec(part, 0..12)).prop_map(|(opening, parts)| format!("{opening}{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn entries_that_are_read_at_once_are_those_that_are_sought(file in files(), limit in prop_oneof![Just(1 << 20), 90..130_usize]) {
        let entries = || EntryReader::new(file.as_bytes()).entry_bytes_max(limit);
        let source = Source::of_digest([7; 32]);
        let at_once = OrderReader::<InventoryOrder, _>::of_entries(entries()).with_source(source).map(Result::unwrap);
        let sought = OrderReader::<Sought, _>::of_entries(entries()).with_source(source).map(Result::unwrap);
        let sought = sought.map(|entry| match entry {
            Entry::Order(Located { order, index, line, column }) => Entry::Order(Located { order: order.0, index, line, column }),
            Entry::Filtered { index } => Entry::Filtered { index },
            Entry::Rejected(rejection) => Entry::Rejected(rejection),
        });
        prop_assert_eq!(at_once.collect::<Vec<_>>(), sought.collect::<Vec<_>>());
    }
}
