//! The fast path agrees with the general parser on every input.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::order::codec::Core;
use crate::order::validate::{Draft, examine};
use crate::order::{Customer, DeliveryAddress, DeliveryOrder, InventoryOrder, Order, ViolationCode};

const USUAL: &str =
    r#"{"order_id": "97537", "product_id": "02758", "quantity": 35, "type": "inventory", "timestamp": "5/30/2023"}"#;
const FULL: &str = concat!(
    r#"{"order_id":"9","product_id":"49466","quantity":1000000,"type":"delivery","timestamp":"2023-05-30T07:08:09Z","#,
    r#""customer":{"name":"Zoë","email":"z@example.com","phone":"+44 20"},"#,
    r#""delivery_address":{"line1":"1 High Street","line2":"x","city":"y","region":"z","postal_code":"1","country":"GB"}}"#
);

fn draft(plain: Plain<'_>) -> Draft {
    Draft {
        kind: plain.kind,
        type_offset: plain.type_offset,
        core: Core::of_plain(&plain),
        movement: plain.movement,
        customer: plain.customer,
        delivery_address: plain.delivery_address,
    }
}

/// Whether the fast path was taken; where it was, the general parser must have read the same.
fn agrees(value: &[u8]) -> bool {
    if let Some((plain, length)) = read_prefix(value) {
        assert_eq!(examine(&value[..length], None).ok(), Some(draft(plain)), "{:?}", String::from_utf8_lossy(value));
    }
    let fast = read(value).map(draft);
    if fast.is_some() {
        assert_eq!(examine(value, None).ok(), fast, "{:?}", String::from_utf8_lossy(value));
    }
    fast.is_some()
}

#[test]
fn an_order_is_found_at_the_beginning_of_longer_bytes() {
    for order in [USUAL, FULL] {
        for behind in ["", "}", ", {\"a\": 1}", "\n]", "\u{e9}", &"\u{e9}".repeat(PREFIX_MAX)] {
            let bytes = format!("{order}{behind}");
            assert!(agrees(bytes.as_bytes()) == behind.is_empty() || behind == "\n]");
            assert_eq!(read_prefix(bytes.as_bytes()).map(|(_, length)| length), Some(order.len()), "{behind}");
        }
    }
    assert!(read_prefix(&USUAL.as_bytes()[..USUAL.len() - 1]).is_none());
}

#[test]
fn a_value_beyond_the_limit_is_refused_by_both() {
    let huge = format!("{USUAL}{}", " ".repeat(ORDER_BYTES_MAX));
    assert!(!agrees(huge.as_bytes()));
    assert_eq!(InventoryOrder::decode(huge.as_bytes()).unwrap_err().code(), ViolationCode::TooLarge);
}

#[test]
fn usual_orders_take_the_fast_path_with_and_without_spaces() {
    for usual in [USUAL, FULL, &USUAL.replace('}', r#", "movement": "issue"}"#), &FULL.replace("\":", "\" : ")] {
        assert!(agrees(usual.as_bytes()), "{usual}");
        assert!(agrees(format!("\n {usual}\r\n").as_bytes()));
    }
    assert!(agrees(USUAL.replace(' ', "").as_bytes()));
    assert!(agrees(USUAL.replace("97537", "Zoë").replace("inventory", "INVENTORY").as_bytes()));
}

#[test]
fn unusual_orders_are_left_to_the_general_parser() {
    for (from, to) in [
        ("97537", "9\\n7"),
        ("97537", "\u{7f}"),
        ("97537", "\u{85}"),
        ("97537", ""),
        (": 35", ": 35.0"),
        (": 35", ": 035"),
        (": 35", ": 1000001"),
        (": 35", ": 0"),
        (": 35", ": 99999999999999999999"),
        ("inventory", "refund"),
        ("}", ",}"),
        ("}", ", \"movement\": \"issue\", \"x\": 1}"),
        ("}", "} x"),
        ("5/30", "5/32"),
    ] {
        let changed = USUAL.replace(from, to);
        assert!(!agrees(changed.as_bytes()), "{changed}");
    }
    let twice = FULL.replace(r#""name":"Zoë""#, r#""email":"Zoë""#);
    assert!(!agrees(twice.as_bytes()), "{twice}");
}

/// The parts that orders are made of, and parts that do not belong there.
fn parts() -> impl Strategy<Value = String> {
    let known = select(vec![
        "{",
        "}",
        "{",
        "}",
        ",",
        ":",
        " ",
        "\n",
        "\"",
        "\\",
        "[",
        "]",
        "null",
        "0",
        "35",
        "1.5",
        "-1",
        "1e3",
        "\"1\"",
        "\"order_id\":",
        "\"product_id\":",
        "\"quantity\":",
        "\"type\":",
        "\"timestamp\":",
        "\"movement\":",
        "\"issue\"",
        "\"customer\":",
        "\"name\":",
        "\"delivery_address\":",
        "\"city\":",
        "\"inventory\"",
        "\"Delivery\"",
        "\"5/30/2023\"",
        "\"2023-05-30\"",
        "\"\\u0041\"",
        "\"é\"",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "\\PC{0,3}"]
}

/// Good orders of which some parts were replaced, dropped or doubled.
fn nearly_good() -> impl Strategy<Value = Vec<u8>> {
    let base = select(vec![USUAL, FULL]);
    (base, vec((any::<prop::sample::Index>(), 0..4_usize, parts()), 0..4)).prop_map(|(base, changes)| {
        let mut bytes = base.as_bytes().to_vec();
        for (at, drop, insert) in changes {
            let at = at.index(bytes.len());
            let end = (at + drop).min(bytes.len());
            bytes.splice(at..end, insert.into_bytes());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_paths_agree_on_nearly_good_orders(value in nearly_good()) {
        agrees(&value);
    }

    #[test]
    fn both_paths_agree_on_any_parts(parts in vec(parts(), 0..30)) {
        agrees(parts.concat().as_bytes());
    }

    #[test]
    fn both_paths_agree_on_hostile_bytes(value in vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>()) {
        agrees(&value);
        let mut inside = FULL.as_bytes().to_vec();
        let at = at.index(inside.len());
        inside.splice(at..at, value);
        agrees(&inside);
        agrees(&FULL.as_bytes()[..at]);
    }

    #[test]
    fn what_is_encoded_is_decoded_as_it_was(id in "\\PC{1,20}", product in "[0-9]{1,40}|\\PC{1,12}", quantity in 1..=1_000_000_u32,
                                            date in "[1-9]/1[0-9]/20[0-9]{2}", issue in any::<Option<bool>>(), name in "\\PC{0,50}", city in any::<Option<String>>()) {
        let Ok(mut order) = InventoryOrder::new(&id, &product, quantity, &date) else { return Err(TestCaseError::reject("id")) };
        if let Some(issue) = issue {
            order = order.with_movement(if issue { Movement::Issue } else { Movement::Receipt });
        }
        round_trip(&order)?;
        let customer = Customer::default().with_name(&name).unwrap();
        let mut address = DeliveryAddress::default();
        if let Some(city) = city && let Ok(with) = address.clone().with_city(&city) {
            address = with;
        }
        let delivery = DeliveryOrder::new(&id, &product, quantity, &date).unwrap();
        round_trip(&delivery.with_customer(customer).with_delivery_address(address))?;
    }
}

fn round_trip<O: Order + serde::Serialize + serde::de::DeserializeOwned>(order: &O) -> Result<(), TestCaseError> {
    let mut value = Vec::new();
    order.encode(&mut value);
    prop_assert_eq!(value.len(), order.encoded_len());
    agrees(&value);
    prop_assert_eq!(&O::decode(&value).unwrap(), order);
    let text = serde_json::to_string(order).unwrap();
    prop_assert_eq!(text.as_bytes(), &value);
    prop_assert_eq!(&serde_json::from_str::<O>(&text).unwrap(), order);
    Ok(())
}
