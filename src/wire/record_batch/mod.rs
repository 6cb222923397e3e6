//! Record batches (message format 2): built in place, read without copies.
