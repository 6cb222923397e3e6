//! The gzip format (RFC 1952) over flate2's deflate, whose state is kept between batches.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CompressionError, Output};

const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];
/// No flags, no time, no extra flags, unknown operating system.
const HEADER_REST: [u8; 7] = [0, 0, 0, 0, 0, 0, 0xFF];
const TRAILER_BYTES: usize = 8;

/// By how much the output grows at a time.
const STEP_BYTES: usize = 64 * 1024;

pub(super) struct Encoder {
    deflate: Box<Compress>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { deflate: Box::new(Compress::new(flate2::Compression::default(), false)) }
    }

    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&HEADER_REST);
        self.deflate.reset();
        let mut rest = input;
        loop {
            out.reserve(STEP_BYTES);
            let before = self.deflate.total_in();
            let Ok(status) = self.deflate.compress_vec(rest, out, FlushCompress::Finish) else { return false };
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            if status == Status::StreamEnd {
                break;
            }
        }
        let mut checksum = flate2::Crc::new();
        checksum.update(input);
        out.extend_from_slice(&checksum.sum().to_le_bytes());
        out.extend_from_slice(&checksum.amount().to_le_bytes());
        true
    }
}

pub(super) struct Decoder {
    inflate: Box<Decompress>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { inflate: Box::new(Decompress::new(false)) }
    }

    /// Decompresses all members of the file, of which there is usually one.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        let mut rest = input;
        loop {
            let deflated = header(rest).ok_or_else(|| out.malformed("the header is malformed"))?;
            let behind = self.member(deflated, out)?;
            rest = behind.get(TRAILER_BYTES..).ok_or_else(|| out.malformed("the trailer is cut"))?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Inflates one member. Returns what is behind it.
    fn member<'a>(&mut self, deflated: &'a [u8], out: &mut Output) -> Result<&'a [u8], CompressionError> {
        self.inflate.reset(false);
        let mut rest = deflated;
        loop {
            let (_, room) = out.room(STEP_BYTES);
            let full = room.is_empty();
            let (read, wrote) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(rest, room, FlushDecompress::None);
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            let wrote = usize::try_from(self.inflate.total_out() - wrote).unwrap_or(usize::MAX);
            out.advance(wrote);
            rest = rest.get(read..).unwrap_or_default();
            match status {
                Ok(Status::StreamEnd) => return Ok(rest),
                Ok(Status::Ok | Status::BufError) if read > 0 || wrote > 0 => {}
                Ok(Status::Ok | Status::BufError) if full => return Err(out.too_large()),
                Ok(Status::Ok | Status::BufError) => return Err(out.malformed("the bytes are cut")),
                Err(_) => return Err(out.malformed("the bytes do not decompress")),
            }
        }
    }
}

/// What is behind a member's header, whose optional fields are skipped.
fn header(input: &[u8]) -> Option<&[u8]> {
    let [flags, _, _, _, _, _, _, rest @ ..] = input.strip_prefix(&MAGIC)? else { return None };
    let mut rest = rest;
    if flags & 0b100 != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [0b1000, 0b1_0000] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & 0b10 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}
