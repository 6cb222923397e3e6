//! The messages of the protocol, one API a file, each encoded and decoded.
