//! What the codec must write, read or refuse.

#![expect(unreachable_pub, reason = "the macro makes public structures, which a test does not export")]

use proptest::prelude::*;

use super::*;
use crate::place::TopicId;

messages! {
    /// One field of every kind.
    pub struct Inner {
        number: i32 = -1, since 1;
        text: Option<String>, nullable since 2;
        label: String = String::from("x"), ignorable since 2;
    }
    tagged {
        0 => hint: Option<String> = None, ignorable since 3;
        3 => weight: i64 = -1, since 4;
    }

    /// A structure around others.
    pub struct Outer {
        id: TopicId;
        inners: Option<Vec<Inner>>;
        blob: Option<Bytes>;
        flag: bool, until 3;
    }
}

const FLEXIBLE_FROM: i16 = 3;

fn encoded<M: Encode>(message: &M, version: i16) -> Result<Vec<u8>, CodecError> {
    let mut out = b"before".to_vec();
    encode_body(message, version, FLEXIBLE_FROM, &mut out)?;
    Ok(out.split_off(6))
}

fn decoded<M: Decode>(body: &[u8], version: i16) -> Result<M, CodecError> {
    decode_body(Bytes::copy_from_slice(body), version, FLEXIBLE_FROM)
}

fn fault<T: std::fmt::Debug>(result: Result<T, CodecError>) -> Fault {
    result.unwrap_err().fault()
}

#[test]
fn the_classic_and_the_flexible_form_are_the_bytes_of_the_protocol() {
    let inner = Inner { number: 7, text: Some("ab".into()), label: "c".into(), ..Inner::default() };
    assert_eq!(encoded(&inner, 2).unwrap(), b"\0\0\0\x07\0\x02ab\0\x01c");
    let tagged = Inner { hint: Some("h".into()), weight: 2, ..inner };
    let bytes = b"\0\0\0\x07\x03ab\x02c\x02\0\x02\x02h\x03\x08\0\0\0\0\0\0\0\x02";
    assert_eq!(encoded(&tagged, 4).unwrap(), bytes);
    assert_eq!(decoded::<Inner>(bytes, 4), Ok(tagged));
}

#[test]
fn a_field_that_the_version_lacks_is_dropped_if_ignorable_or_else_an_error() {
    let label = Inner { text: Some(String::new()), label: "dropped".into(), ..Inner::default() };
    assert_eq!(encoded(&label, 0).unwrap(), b"\0\0");
    assert_eq!(decoded::<Inner>(b"\0\0", 0).unwrap().label, "x");
    let number = Inner { number: 0, text: Some(String::new()), ..Inner::default() };
    assert_eq!(fault(encoded(&number, 0)), Fault::FieldNotInVersion { field: "number", version: 0 });
    let weight = Inner { weight: 0, ..Inner::default() };
    assert_eq!(fault(encoded(&weight, 3)), Fault::FieldNotInVersion { field: "weight", version: 3 });
    let hint = Inner { hint: Some("h".into()), ..Inner::default() };
    assert_eq!(encoded(&hint, 2).unwrap(), encoded(&Inner::default(), 2).unwrap());
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    assert_eq!(fault(encoded(&Inner::default(), 1)), Fault::NullField("text"));
    assert_eq!(fault(decoded::<Inner>(b"\0\0\0\0\xff\xff", 1)), Fault::NullField("text"));
    assert_eq!(fault(decoded::<Inner>(b"\0\0\0\0\xff\xff\xff\xff", 2)), Fault::Null);
}

#[test]
fn an_error_leaves_the_buffer_as_it_was() {
    let mut out = b"before".to_vec();
    encode_body(&Inner::default(), 1, FLEXIBLE_FROM, &mut out).unwrap_err();
    assert_eq!(out, b"before");
}

#[test]
fn unknown_tags_are_skipped_and_a_known_one_must_fill_its_length() {
    let skipped = b"\0\0\0\x07\0\x01\x01\x09\x02zz";
    assert_eq!(decoded::<Inner>(skipped, 3).unwrap().number, 7);
    let long = b"\0\0\0\x07\0\x01\x01\0\x03\x02hh";
    assert_eq!(fault(decoded::<Inner>(long, 3)), Fault::TagLength { tag: 0, unread: 1 });
    let short = b"\0\0\0\x07\0\x01\x01\0\x01\x02hh";
    assert_eq!(fault(decoded::<Inner>(short, 3)), Fault::Truncated { needed: 1, remaining: 0 });
    let cut = b"\0\0\0\x07\0\x01\x01\x09\x03zz";
    assert_eq!(fault(decoded::<Inner>(cut, 3)), Fault::Truncated { needed: 3, remaining: 2 });
}

#[test]
fn lengths_that_the_frame_cannot_hold_are_refused_before_memory_is_taken() {
    let id = [0; 16];
    let body = |tail: &[u8]| [&id, tail].concat();
    // In version 2 an `Inner` takes at least 8 bytes.
    let array = fault(decoded::<Outer>(&body(b"\x7f\xff\xff\xff"), 2));
    assert_eq!(array, Fault::Count { count: 0x7fff_ffff, remaining: 0 });
    let two = fault(decoded::<Outer>(&body(b"\0\0\0\x02aaaaaaaaaaaaaaa"), 2));
    assert_eq!(two, Fault::Count { count: 2, remaining: 15 });
    let blob = fault(decoded::<Outer>(&body(b"\xff\xff\xff\xff\x7f\xff\xff\xffa"), 2));
    assert_eq!(blob, Fault::Truncated { needed: 0x7fff_ffff, remaining: 1 });
    let negative = fault(decoded::<Outer>(&body(b"\xff\xff\xff\xfe"), 2));
    assert_eq!(negative, Fault::NegativeLength(-2));
    let compact = fault(decoded::<Outer>(&body(b"\xff\xff\xff\xff\x0f"), 3));
    assert_eq!(compact, Fault::Count { count: 0xffff_fffe, remaining: 0 });
    assert_eq!(fault(decoded::<Outer>(&body(b"\xff\xff\xff\xff\x10"), 3)), Fault::Varint);
}

#[test]
fn an_error_says_what_and_where() {
    let error = decoded::<Inner>(b"\0\0\0\x07\0\x05ab", 2).unwrap_err();
    assert_eq!(error.to_string(), "a value needs 5 bytes and 2 remain at byte 6");
    assert_eq!(decoded::<bool>(b"\x01\0\0", 0).unwrap_err().to_string(), "2 bytes remain after the message at byte 1");
    assert_eq!(fault(decoded::<String>(b"\0\x01\xff", 0)), Fault::Utf8);
}

#[test]
fn a_string_beyond_fifteen_bits_is_refused_in_both_forms() {
    let long = "x".repeat(0x8000);
    assert_eq!(fault(encoded(&long, 0)), Fault::TooLong(0x8000));
    assert_eq!(fault(encoded(&long, 3)), Fault::TooLong(0x8000));
    let longest = "x".repeat(0x7fff);
    assert_eq!(decoded::<String>(&encoded(&longest, 0).unwrap(), 0), Ok(longest));
}

#[test]
fn blobs_share_the_memory_of_their_frame() {
    let frame = Bytes::from_static(b"\0\0\0\x03abc");
    let blob: Bytes = decode_body(frame.clone(), 0, FLEXIBLE_FROM).unwrap();
    assert_eq!(blob.as_ptr(), frame.slice(4..).as_ptr());
}

#[test]
fn a_variable_length_integer_is_at_most_five_bytes_and_fits_32_bits() {
    let cases: [(u32, &[u8]); 5] =
        [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (u32::MAX, b"\xff\xff\xff\xff\x0f")];
    for (value, bytes) in cases {
        let mut out = Vec::new();
        varint::put(&mut out, value);
        assert_eq!(out, bytes, "{value}");
        let mut input = bytes;
        assert_eq!((varint::take(&mut input), input.len()), (Some(value), 0));
    }
    for refused in [&b"\xff\xff\xff\xff\x10"[..], b"\xff\xff\xff\xff\xff\0", b"\x80", b""] {
        assert_eq!(varint::take(&mut &*refused), None, "{refused:?}");
    }
}

proptest! {
    #[test]
    fn a_variable_length_integer_reads_back(value: u32, shift in 0_u32..32) {
        let value = value >> shift;
        let mut out = Vec::new();
        varint::put(&mut out, value);
        prop_assert_eq!(varint::take(&mut &*out), Some(value));
    }
}
