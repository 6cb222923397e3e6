//! Compression codecs without a line of C.
