//! The lz4 frame format over lz4_flex's block codec.
//!
//! lz4_flex has the frame format too, but its reader allocates the block size that the frame declares (up to 4 MB) however
//! short the frame is, copies every byte twice and knows no limit; so blocks go straight to and from our buffers.
//!
//! ```text
//! magic 4 | FLG BD [content size 8] [dictionary id 4] HC | block*: length 4, bytes, [checksum 4] | 0 | [checksum 4]
//! ```

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict, get_maximum_output_size,
};

use super::{CompressionError, Output};

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();

/// What we write: version 1, independent blocks of at most 256 kB, no checksums; the last byte is the header's checksum,
/// which is a constant as the header is.
const DESCRIPTOR: [u8; 3] = [0x60, 0x50, 0xFB];
const BLOCK_BYTES: usize = 256 * 1024;

/// The bit of a block's length that says that the block is stored as it is.
const STORED: u32 = 0x8000_0000;

/// How far back a linked block may point.
const WINDOW_BYTES: usize = 64 * 1024;

/// No lz4 block decompresses to more than this many times its size (a match length grows by 255 a byte).
const MAX_RATIO: usize = 256;

#[derive(Default)]
pub(super) struct Encoder {
    table: Option<CompressTable>,
    block: Vec<u8>,
}

impl Encoder {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        let table = self.table.get_or_insert_with(CompressTable::large);
        self.block.resize(get_maximum_output_size(BLOCK_BYTES), 0);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&DESCRIPTOR);
        for block in input.chunks(BLOCK_BYTES) {
            let length = compress_into_with_table(block, &mut self.block, table).unwrap_or(usize::MAX);
            let (flag, bytes) = match self.block.get(..length) {
                Some(compressed) if length < block.len() => (0, compressed),
                _ => (STORED, block),
            };
            let Ok(length) = u32::try_from(bytes.len()) else { return false };
            out.extend_from_slice(&(length | flag).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&0_u32.to_le_bytes());
        true
    }
}

/// What a frame's header says about its blocks.
struct Frame {
    linked: bool,
    block_checksums: bool,
    block_bytes: usize,
}

pub(super) fn decompress(input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    let (frame, mut rest) = header(input).map_err(|what| out.malformed(what))?;
    loop {
        let (length, behind) = u32_le(rest).ok_or_else(|| out.malformed("a block is cut"))?;
        if length == 0 {
            return Ok(());
        }
        let bytes = usize::try_from(length & !STORED).unwrap_or(usize::MAX);
        let (block, behind) = behind.split_at_checked(bytes).ok_or_else(|| out.malformed("a block is cut"))?;
        if length & STORED != 0 {
            out.extend(block)?;
        } else {
            decompress_block(&frame, block, out)?;
        }
        let checksum = if frame.block_checksums { 4 } else { 0 };
        rest = behind.get(checksum..).ok_or_else(|| out.malformed("a block is cut"))?;
    }
}

fn decompress_block(frame: &Frame, block: &[u8], out: &mut Output) -> Result<(), CompressionError> {
    let most = frame.block_bytes.min(block.len().saturating_mul(MAX_RATIO));
    let at_limit = out.left() < most;
    let (before, room) = out.room(most);
    let result = if frame.linked && !before.is_empty() {
        let window = before.get(before.len().saturating_sub(WINDOW_BYTES)..).unwrap_or_default();
        decompress_into_with_dict(block, room, window)
    } else {
        decompress_into(block, room)
    };
    match result {
        Ok(written) => {
            out.advance(written);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if at_limit => Err(out.too_large()),
        Err(_) => Err(out.malformed("a block does not decompress")),
    }
}

fn header(input: &[u8]) -> Result<(Frame, &[u8]), &'static str> {
    let rest = input.strip_prefix(&MAGIC).ok_or("the magic number is wrong")?;
    let [flags, sizes, rest @ ..] = rest else { return Err("the header is cut") };
    if flags >> 6 != 1 {
        return Err("the frame's version is unknown");
    }
    if flags & 0b1 != 0 {
        return Err("the frame needs a dictionary");
    }
    let block_bytes = match (sizes >> 4) & 0b111 {
        4 => 64 * 1024,
        5 => 256 * 1024,
        6 => 1024 * 1024,
        7 => 4 * 1024 * 1024,
        _ => return Err("the block size is unknown"),
    };
    let skipped = if flags & 0b1000 != 0 { 8 + 1 } else { 1 };
    let frame = Frame { linked: flags & 0b10_0000 == 0, block_checksums: flags & 0b1_0000 != 0, block_bytes };
    Ok((frame, rest.get(skipped..).ok_or("the header is cut")?))
}

fn u32_le(input: &[u8]) -> Option<(u32, &[u8])> {
    let (bytes, rest) = input.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*bytes), rest))
}
