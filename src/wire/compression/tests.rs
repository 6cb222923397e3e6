//! What the codecs promise.
