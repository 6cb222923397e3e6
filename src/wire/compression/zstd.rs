//! Reading zstd by ruzstd, whose tables and window are kept between batches.

use std::io::Read;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{CompressionError, Output};

/// How much is decoded before it is taken out.
const STEP_BYTES: usize = 256 * 1024;

pub(super) struct Decoder {
    frames: FrameDecoder,
}

impl Decoder {
    pub(super) fn new(limit: usize) -> Self {
        let mut frames = FrameDecoder::new();
        frames.set_max_window_size(u64::try_from(limit).unwrap_or(u64::MAX));
        Self { frames }
    }

    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Output) -> Result<(), CompressionError> {
        let mut rest = input;
        while !rest.is_empty() {
            self.frames.reset(&mut rest).map_err(|_| out.malformed("the frame's header is malformed"))?;
            while !self.frames.is_finished() {
                self.frames
                    .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBytes(STEP_BYTES))
                    .map_err(|_| out.malformed("a block does not decompress"))?;
                self.take(out)?;
            }
            self.take(out)?;
        }
        Ok(())
    }

    /// Moves what need not stay in the window to the output.
    fn take(&mut self, out: &mut Output) -> Result<(), CompressionError> {
        while self.frames.can_collect() > 0 {
            let (_, room) = out.room(self.frames.can_collect());
            if room.is_empty() {
                return Err(out.too_large());
            }
            let written = self.frames.read(room).map_err(|_| out.malformed("a block does not decompress"))?;
            if written == 0 {
                return Err(out.malformed("a block does not decompress"));
            }
            out.advance(written);
        }
        Ok(())
    }
}
