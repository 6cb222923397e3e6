//! What the rules say of whole orders.

use super::*;
use crate::order::{DeliveryOrder, InventoryOrder, Order};

const GOOD: &str = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"inventory","timestamp":"5/30/2023"}"#;

fn codes(text: &str) -> Vec<(&'static str, String, usize)> {
    let told = |violation: &Violation| (violation.code().as_str(), violation.pointer().to_owned(), violation.offset());
    examine(text.as_bytes(), None).err().unwrap_or_default().iter().map(told).collect()
}

fn changed(from: &str, to: &str) -> Vec<(&'static str, String, usize)> {
    assert!(GOOD.contains(from));
    codes(&GOOD.replace(from, to))
}

#[test]
fn each_broken_rule_has_its_code_its_pointer_and_the_place_of_the_value() {
    assert_eq!(codes(GOOD), []);
    for (from, to, code, pointer, offset) in [
        (r#""1""#, "97537", "ORD-ID-TYPE", "/order_id", 12),
        (r#""1""#, r#""""#, "ORD-ID-EMPTY", "/order_id", 12),
        (r#""2""#, r#""\u0000""#, "ORD-ID-CONTROL", "/product_id", 29),
        (r#""2""#, r#""\ud800""#, "ORD-JSON", "/product_id", 29),
        (":3,", ":0,", "ORD-QTY-RANGE", "/quantity", 44),
        (":3,", ":-5,", "ORD-QTY-RANGE", "/quantity", 44),
        (":3,", ":1000001,", "ORD-QTY-RANGE", "/quantity", 44),
        (":3,", ":99999999999999999999999999999999999999999,", "ORD-QTY-RANGE", "/quantity", 44),
        (":3,", ":3.0,", "ORD-QTY-TYPE", "/quantity", 44),
        (":3,", ":3e0,", "ORD-QTY-TYPE", "/quantity", 44),
        (":3,", ":\"3\",", "ORD-QTY-TYPE", "/quantity", 44),
        (":3,", ":null,", "ORD-QTY-TYPE", "/quantity", 44),
        (":3,", ":03,", "ORD-JSON", "", 45),
        (r#""inventory""#, r#""refund""#, "ORD-TYPE-UNKNOWN", "/type", 53),
        (r#""inventory""#, "7", "ORD-TYPE-UNKNOWN", "/type", 53),
        (r#""5/30/2023""#, r#""2/30/2023""#, "ORD-DATE-INVALID", "/timestamp", 77),
        (r#""5/30/2023""#, "1685404800", "ORD-DATE-TYPE", "/timestamp", 77),
        ("}", r#","movement":"sideways"}"#, "ORD-MOVEMENT-UNKNOWN", "/movement", 100),
        ("}", r#","quantity":4}"#, "ORD-FIELD-DUPLICATE", "/quantity", 100),
        ("}", r#","a/~b":1,"a/~b":2}"#, "ORD-FIELD-DUPLICATE", "/a~1~0b", 105),
        (r#""quantity":3,"#, "", "ORD-FIELD-MISSING", "/quantity", 0),
    ] {
        assert_eq!(changed(from, to), [(code, pointer.to_owned(), offset)], "{from} -> {to}");
    }
}

#[test]
fn lengths_are_bounded() {
    let id = |length: usize| changed(r#""2""#, &format!("{:?}", "x".repeat(length)));
    assert_eq!(id(ID_MAX), []);
    assert_eq!(id(ID_MAX + 1), [("ORD-ID-LENGTH", "/product_id".to_owned(), 29)]);
    let huge = format!("{GOOD}{}", " ".repeat(ORDER_BYTES_MAX));
    assert_eq!(codes(&huge), [("ORD-TOO-LARGE", String::new(), 0)]);
    let deep = changed("}", &format!(r#","x":{}{}}}"#, "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX)));
    assert_eq!(deep, [("ORD-TOO-DEEP", String::new(), 93 + DEPTH_MAX - 1)]);
}

#[test]
fn an_entry_that_is_not_an_object_is_told_so() {
    for text in ["7", "[1]", "\"x\"", " null "] {
        assert_eq!(codes(text).first().map(|told| told.0), Some("ORD-NOT-OBJECT"), "{text}");
    }
    for text in ["", "{", "nul", "{}{}", "\u{feff}{}"] {
        assert_eq!(codes(text).first().map(|told| told.0), Some("ORD-JSON"), "{text}");
    }
}

#[test]
fn all_violations_of_an_entry_are_found_in_the_order_of_their_places() {
    let text = r#"{"timestamp":"116/2023","quantity":0,"order_id":7,"type":"delivery","customer":{"name":1,"name":2}}"#;
    let found: Vec<_> = codes(text).into_iter().map(|(code, pointer, _)| format!("{code} {pointer}")).collect();
    assert_eq!(
        found,
        [
            "ORD-DATE-INVALID /timestamp",
            "ORD-QTY-RANGE /quantity",
            "ORD-ID-TYPE /order_id",
            "ORD-FIELD-TYPE /customer/name",
            "ORD-FIELD-DUPLICATE /customer/name",
            "ORD-FIELD-MISSING /product_id",
        ]
    );
    assert_eq!(DeliveryOrder::decode(text.as_bytes()).unwrap_err().code(), ViolationCode::DateInvalid);
}

#[test]
fn another_type_is_told_before_every_other_rule() {
    let text = r#"{"quantity":0,"type":"DELIVERY"}"#;
    let violation = InventoryOrder::decode(text.as_bytes()).unwrap_err();
    assert_eq!((violation.code(), violation.offset()), (ViolationCode::TypeOther, 21));
}

#[test]
fn unknown_fields_are_kept_in_their_order_and_their_text() {
    let text = r#"{"z": 1.50, "order_id": "1", "a\"": {"k" : [ 1, "x  y" ]}, "product_id": "2", "quantity": 3,
        "type": "Inventory", "timestamp": "5/30/2023", "big": 123456789012345678901234567890, "customer": {"name": 1}}"#;
    let order = InventoryOrder::decode(text.as_bytes()).unwrap();
    let mut value = Vec::new();
    order.encode(&mut value);
    assert_eq!(
        String::from_utf8(value).unwrap(),
        concat!(
            r#"{"order_id":"1","product_id":"2","quantity":3,"type":"inventory","timestamp":"5/30/2023","#,
            r#""z":1.50,"a\"":{"k":[1,"x  y"]},"big":123456789012345678901234567890,"customer":{"name":1}}"#
        )
    );
}

#[test]
fn optional_fields_may_be_null_or_empty_and_their_unknown_fields_are_kept() {
    let text = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"delivery","timestamp":"5/30/2023",
        "customer":{"vip":true,"email":null,"name":"Zoë"},"delivery_address":{},"movement":"sideways"}"#;
    let order = DeliveryOrder::decode(text.as_bytes()).unwrap();
    assert_eq!((order.customer().unwrap().name(), order.customer().unwrap().email()), (Some("Zoë"), None));
    let mut value = Vec::new();
    order.encode(&mut value);
    assert_eq!(value.len(), order.encoded_len());
    assert!(
        String::from_utf8(value)
            .unwrap()
            .ends_with(r#","customer":{"name":"Zoë","vip":true},"delivery_address":{},"movement":"sideways"}"#)
    );
    let nulls = text.replace(r#"{"vip":true,"email":null,"name":"Zoë"}"#, "null").replace("{}", "null");
    let order = DeliveryOrder::decode(nulls.as_bytes()).unwrap();
    assert_eq!((order.customer(), order.delivery_address()), (None, None));
}

#[test]
fn no_sentence_and_no_debug_tells_a_customers_particulars() {
    let text = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"delivery","timestamp":"5/30/2023",
        "customer":{"name":"Secret\u0007","email":["Secret"],"phone":"Secret","Secret phone":"Secret"},"delivery_address":"Secret"}"#;
    let violations = examine(text.as_bytes(), None).unwrap_err();
    assert_eq!(violations.len(), 3);
    assert!(!format!("{violations:?}").contains("Secret"), "{violations:?}");
    let order = GOOD
        .replace("inventory", "delivery")
        .replace('}', r#","customer":{"name":"Secret","x":"Secret"},"y":"Secret"}"#);
    let shown = format!("{:?}", DeliveryOrder::decode(order.as_bytes()).unwrap());
    assert!(!shown.contains("Secret") && shown.contains("name: ***"), "{shown}");
}
