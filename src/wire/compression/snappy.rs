//! Snappy in the two forms that Kafka clients write: raw, or in the framing of Java's snappy.
//!
//! librdkafka writes raw and Java writes frames; all of them read both.
//!
//! ```text
//! raw:     one snappy block
//! framed:  82 'SNAPPY' 0 | version 4 | compatible 4 | (length 4, snappy block)*     lengths big-endian
//! ```

use super::{CompressionError, Output};

const FRAME_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const FRAME_VERSIONS: usize = 8;

/// No snappy block decompresses to more than this many times its size (a copy of 64 bytes takes 3).
const MAX_RATIO: usize = 22;

#[derive(Default)]
pub(super) struct Encoder {
    codec: Option<snap::raw::Encoder>,
    block: Vec<u8>,
}

impl Encoder {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        let most = snap::raw::max_compress_len(input.len());
        if self.block.len() < most {
            self.block.resize(most, 0);
        }
        let Ok(length) = self.codec.get_or_insert_with(snap::raw::Encoder::new).compress(input, &mut self.block) else {
            return false;
        };
        let Some(compressed) = self.block.get(..length) else { return false };
        out.extend_from_slice(compressed);
        true
    }
}

pub(super) fn decompress(input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    let Some(framed) = input.strip_prefix(&FRAME_MAGIC) else { return block(input, out) };
    let mut rest = framed.get(FRAME_VERSIONS..).ok_or_else(|| out.malformed("the header is cut"))?;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(|| out.malformed("a block is cut"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (bytes, behind) = behind.split_at_checked(length).ok_or_else(|| out.malformed("a block is cut"))?;
        block(bytes, out)?;
        rest = behind;
    }
    Ok(())
}

fn block(input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    let length = snap::raw::decompress_len(input).map_err(|_| out.malformed("a block's length is malformed"))?;
    if length > out.left() {
        return Err(out.too_large());
    }
    if length > input.len().saturating_mul(MAX_RATIO) {
        return Err(out.malformed("a block's length is more than its bytes can hold"));
    }
    let (_, room) = out.room(length);
    match snap::raw::Decoder::new().decompress(input, room) {
        Ok(written) => {
            out.advance(written);
            Ok(())
        }
        Err(_) => Err(out.malformed("a block does not decompress")),
    }
}
