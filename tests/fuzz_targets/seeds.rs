//! Valid input for each check, to be mutated.

use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::message::{ApiKey, RequestHeader};
use orderflow::wire::record_batch::{BatchBuilder, Header, RecordParts};

const ORDERS: &[&str] = &[
    r#"{"order_id":"1","product_id":"02758","quantity":35,"type":"inventory","timestamp":"5/30/2023"}"#,
    r#"{"order_id": "é\n\u00e9", "product_id": "2", "quantity": 1, "type": "Delivery", "timestamp": "2023-05-30T10:00:00Z"}"#,
    r#"{"order_id":"1","product_id":"2","quantity":1,"type":"inventory","movement":"issue","timestamp":"5/30/2023","x":[1,{"y":null}]}"#,
    r#"{"order_id":"1","product_id":"2","quantity":1,"type":"delivery","timestamp":"5/30/2023","customer":{"name":"A","email":"a@b.c"},"delivery_address":{"line1":"x","city":"y","postal_code":"1","country":"DE"}}"#,
];

/// The seeds of the check with this name.
pub fn of(check: &str) -> Vec<Vec<u8>> {
    match check {
        "record_batch" => batches(),
        "compression" => compressed(),
        "message" => messages(),
        "request_header" => headers(),
        "order_file" => files(),
        "order_codec" => ORDERS.iter().map(|order| order.as_bytes().to_vec()).collect(),
        "date" => texts(&["5/30/2023", "12/31/9999", "2023-05-30", "2024-02-29T23:59:60.999999999+14:00", "1/1/1"]),
        "identity" => texts(&["of1:3GGyqxLoWpbc5BC8YWLFMg:0", "of1:a:281474976710655", "checkout:1", "of1:a:", "a"]),
        "properties" => texts(&[
            "bootstrap.servers=a:1,[::1]:2\nlinger.ms = 5\n# note\n! note\nacks: all\n",
            "ssl.key.password=\\u0041\\\n  b\ncompression.type lz4\nclient.id=\\t\\=x\n",
        ]),
        other => panic!("no seeds for {other}"),
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn files() -> Vec<Vec<u8>> {
    let lines = ORDERS.join("\n");
    let array = format!("[\n  {}\n]\n", ORDERS.join(",\n  "));
    let mixed = format!("\u{feff}\r\n{}\r\n\r\nnot json\r\n{}", ORDERS[0], ORDERS[1]);
    let broken = format!("[\n  {},\n  {{\"a\": \"b}},\n  {}\n]", ORDERS[0], ORDERS[1]);
    texts(&[&lines, &array, &mixed, &broken, "[]", ""])
}

fn batch(compression: Compression, control: bool) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression, Vec::new());
    if control {
        builder = builder.control().transactional();
    }
    let headers = [Header { key: b"idempotency-key", value: Some(b"of1:a:7") }, Header { key: b"", value: None }];
    for (number, order) in ORDERS.iter().enumerate() {
        let key: &[u8] = if control { &[0, 0, 0, 1] } else { b"02758" };
        let parts = RecordParts { key: Some(key), headers: &headers[number % 3..], value_len: Some(order.len()) };
        builder.append(1_000, &parts, |out| out.extend_from_slice(order.as_bytes())).unwrap();
    }
    builder.close(&mut Compressor::new()).bytes().to_vec()
}

fn batches() -> Vec<Vec<u8>> {
    let kinds = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4];
    let mut all: Vec<Vec<u8>> = kinds.into_iter().map(|kind| batch(kind, false)).collect();
    all.push(batch(Compression::None, true));
    all.push([all[0].clone(), all[1].clone(), all[2].clone()].concat());
    all
}

fn compressed() -> Vec<Vec<u8>> {
    let text = ORDERS.concat().repeat(20);
    let kinds = [(1, Compression::Gzip), (2, Compression::Snappy), (3, Compression::Lz4)];
    let compress = |(choice, kind)| {
        let mut out = vec![choice];
        assert!(Compressor::new().compress(kind, text.as_bytes(), &mut out));
        out
    };
    let mut all: Vec<Vec<u8>> = kinds.into_iter().map(compress).collect();
    // A zstd frame of one raw block.
    all.push([&[4, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x29, 0, 0][..], b"hello"].concat());
    all
}

/// Bodies of small numbers: short arrays, short strings, both sides of every API.
fn messages() -> Vec<Vec<u8>> {
    let bodies = [vec![0; 64], [0, 0, 0, 1].repeat(32), [0, 1, b'a', 2].repeat(32), vec![1; 96], vec![2; 96]];
    let apis = 0..ApiKey::ALL.len() as u8;
    apis.flat_map(|api| {
        bodies
            .iter()
            .enumerate()
            .flat_map(move |(number, body)| [0, 1].map(|side| [&[api, number as u8 * 3, side][..], body].concat()))
    })
    .collect()
}

fn headers() -> Vec<Vec<u8>> {
    let of = |api: ApiKey, api_version: i16, client_id: Option<&str>| {
        let client_id = client_id.map(Into::into);
        let header = RequestHeader { api_key: api.as_i16(), api_version, correlation_id: 7, client_id };
        let mut frame = Vec::new();
        header.encode(&mut frame).unwrap();
        frame.extend_from_slice(b"body");
        frame
    };
    vec![of(ApiKey::Produce, 9, Some("shop")), of(ApiKey::Fetch, 4, None), of(ApiKey::ApiVersions, 3, Some(""))]
}
