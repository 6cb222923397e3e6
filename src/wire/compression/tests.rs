//! What the codecs promise: they agree with their peers, stay within the limit and survive any bytes.

use std::io::{Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;

const WRITABLE: [Compression; 3] = [Compression::Gzip, Compression::Snappy, Compression::Lz4];

fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(Compressor::new().compress(codec, input, &mut out));
    out
}

fn zstd(input: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(input, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Orders as they are written: repetitive, but not constant.
fn orders(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 128);
    let mut number = 0_u32;
    while out.len() < bytes {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let order = number % 100_000;
        write!(out, r#"{{"order_id": "{order:05}", "product_id": "{:05}", "quantity": {}}}"#, number >> 20, order % 40)
            .unwrap();
    }
    out
}

fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in blocks {
        let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
        out.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

#[test]
fn a_megabyte_of_orders_comes_back_from_every_codec_and_is_smaller_meanwhile() {
    let input = orders(1_000_000);
    let mut decompressor = Decompressor::new();
    for codec in WRITABLE {
        let bytes = compressed(codec, &input);
        assert!(bytes.len() < input.len() / 2, "{codec:?}: {} bytes", bytes.len());
        assert!(decompressor.decompress(codec, &bytes).unwrap() == input, "{codec:?}");
    }
    assert!(decompressor.decompress(Compression::Zstd, &zstd(&input)).unwrap() == input);
}

#[test]
fn nothing_compresses_to_something_that_decompresses_to_nothing() {
    for codec in WRITABLE {
        assert_eq!(Decompressor::new().decompress(codec, &compressed(codec, &[])), Ok(&[][..]), "{codec:?}");
    }
    assert_eq!(Decompressor::new().decompress(Compression::None, b"as it is"), Ok(&b"as it is"[..]));
}

#[test]
fn the_lz4_frames_that_we_write_satisfy_another_reader_with_header_checksum_and_all() {
    let mut input = orders(700_000);
    input.extend((0..100_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()));
    let mut read = Vec::new();
    FrameDecoder::new(compressed(Compression::Lz4, &input).as_slice()).read_to_end(&mut read).unwrap();
    assert!(read == input);
}

#[test]
fn every_kind_of_lz4_frame_is_read() {
    let input = orders(300_000);
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for checksums in [false, true] {
                let frame = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then_some(input.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(&input).unwrap();
                let bytes = encoder.finish().unwrap();
                let mut read = Decompressor::new();
                assert!(read.decompress(Compression::Lz4, &bytes).unwrap() == input, "{mode:?} {size:?} {checksums}");
            }
        }
    }
}

#[test]
fn snappy_is_read_raw_and_in_the_framing_of_java() {
    let mut decompressor = Decompressor::new();
    let bytes = xerial(&[b"first block, ", b"second block"]);
    assert_eq!(decompressor.decompress(Compression::Snappy, &bytes), Ok(&b"first block, second block"[..]));
    let raw = snap::raw::Encoder::new().compress_vec(b"one block").unwrap();
    assert_eq!(decompressor.decompress(Compression::Snappy, &raw), Ok(&b"one block"[..]));
}

#[test]
fn gzip_agrees_with_another_writer_and_reader_with_names_and_several_members() {
    let input = orders(200_000);
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(compressed(Compression::Gzip, &input).as_slice()).read_to_end(&mut read).unwrap();
    assert!(read == input);

    let mut bytes = Vec::new();
    for part in [&input[..1000], &input[1000..]] {
        let builder = flate2::GzBuilder::new().filename("orders").comment("two").extra([1, 2, 3]);
        let mut encoder = builder.write(&mut bytes, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    assert!(Decompressor::new().decompress(Compression::Gzip, &bytes).unwrap() == input);
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let zeros = vec![0; 20_000_000];
    let limit = 1_000_000;
    let bombs = [
        (Compression::Gzip, compressed(Compression::Gzip, &zeros)),
        (Compression::Snappy, compressed(Compression::Snappy, &zeros)),
        (Compression::Snappy, xerial(&[&zeros[..900_000], &zeros[..900_000]])),
        (Compression::Lz4, compressed(Compression::Lz4, &zeros)),
        (Compression::Zstd, zstd(&zeros)),
    ];
    for (codec, bomb) in bombs {
        let mut decompressor = Decompressor::with_limit(limit);
        assert_eq!(
            decompressor.decompress(codec, &bomb),
            Err(CompressionError::TooLarge { codec, limit }),
            "{codec:?}"
        );
        assert!(decompressor.output.capacity() <= 2 * limit, "{codec:?}: {}", decompressor.output.capacity());
    }
}

#[test]
fn a_length_field_alone_allocates_nothing() {
    let mut decompressor = Decompressor::new();
    let lies = [
        (Compression::Snappy, vec![0xFF, 0xFF, 0xFF, 0x1F, 0]),
        (Compression::Lz4, vec![4, 0x22, 0x4D, 0x18, 0x60, 0x70, 0x73, 4, 0, 0, 0, 0xF0, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]),
    ];
    for (codec, lie) in lies {
        assert!(decompressor.decompress(codec, &lie).is_err(), "{codec:?}");
        assert!(decompressor.output.capacity() <= 2048, "{codec:?}: {}", decompressor.output.capacity());
    }
}

#[test]
fn a_decompressor_works_on_after_malformed_bytes() {
    let input = orders(50_000);
    let mut decompressor = Decompressor::new();
    for (codec, bytes) in
        WRITABLE.map(|codec| (codec, compressed(codec, &input))).into_iter().chain([(Compression::Zstd, zstd(&input))])
    {
        assert!(decompressor.decompress(codec, &bytes[..bytes.len() / 2]).is_err(), "{codec:?}");
        assert!(decompressor.decompress(codec, &bytes).unwrap() == input, "{codec:?}");
    }
}

fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_come_back_from_every_codec(input in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1_usize..20) {
        let input = input.repeat(repeat);
        let mut decompressor = Decompressor::new();
        for codec in WRITABLE {
            let bytes = compressed(codec, &input);
            prop_assert_eq!(decompressor.decompress(codec, &bytes).unwrap(), &input);
        }
        let bytes = zstd(&input);
        prop_assert_eq!(decompressor.decompress(Compression::Zstd, &bytes).unwrap(), &input);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_exceed_the_limit(codec in codec(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut decompressor = Decompressor::with_limit(100_000);
        let length = decompressor.decompress(codec, &bytes).map_or(0, <[u8]>::len);
        prop_assert!(length <= 100_000);
    }

    #[test]
    fn changed_bytes_neither_panic_nor_exceed_the_limit(
        codec in codec(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let input = orders(3000);
        let mut bytes = if codec == Compression::Zstd { zstd(&input) } else { compressed(codec, &input) };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut decompressor = Decompressor::with_limit(100_000);
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            let length = decompressor.decompress(codec, bytes).map_or(0, <[u8]>::len);
            prop_assert!(length <= 100_000);
        }
    }
}
