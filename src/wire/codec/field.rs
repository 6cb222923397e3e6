//! How each Rust type stands on the wire.
//!
//! | Rust | classic | flexible |
//! |---|---|---|
//! | `i8` to `i64`, `bool`, `TopicId` | big-endian, fixed size | the same |
//! | `String` | 16-bit length | length + 1 of variable size |
//! | `Bytes`, `Vec<T>` | 32-bit length | length + 1 of variable size |
//! | `Option` of these | length -1 is null | prefix 0 is null |
//! | `Option` of a structure | a byte: -1 is null, 1 is present | the same |

use bytes::Bytes;

use super::{CodecError, Decode, Encode, Fault, Reader, Shape, Writer};
use crate::place::TopicId;

/// A type that has a form for null.
pub(crate) trait Nullable: Sized {
    /// Appends the value, or null.
    fn encode_nullable(value: Option<&Self>, out: &mut Writer<'_>) -> Result<(), CodecError>;
    /// Reads a value or null.
    fn decode_nullable(input: &mut Reader) -> Result<Option<Self>, CodecError>;
    /// The bytes of null.
    fn null_size(shape: Shape) -> usize;
    /// As [`Encode::bulk`].
    fn bulk(&self) -> usize {
        0
    }
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Encode for $type {
            #[inline]
            fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
                out.raw(&self.to_be_bytes());
                Ok(())
            }
        }

        impl Decode for $type {
            #[inline]
            fn decode(input: &mut Reader) -> Result<Self, CodecError> {
                input.array().map(Self::from_be_bytes)
            }

            fn least_size(_: Shape) -> usize {
                size_of::<Self>()
            }
        }
    )* };
}

integers! { i8 i16 i32 i64 }

impl Encode for bool {
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
        i8::from(*self).encode(out)
    }
}

impl Decode for bool {
    #[inline]
    fn decode(input: &mut Reader) -> Result<Self, CodecError> {
        Ok(i8::decode(input)? != 0)
    }

    fn least_size(_: Shape) -> usize {
        1
    }
}

impl Encode for TopicId {
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
        out.raw(self.as_bytes());
        Ok(())
    }
}

impl Decode for TopicId {
    #[inline]
    fn decode(input: &mut Reader) -> Result<Self, CodecError> {
        input.array().map(Self::new)
    }

    fn least_size(_: Shape) -> usize {
        16
    }
}

impl Nullable for String {
    fn encode_nullable(value: Option<&Self>, out: &mut Writer<'_>) -> Result<(), CodecError> {
        out.string_length(value.map(Self::len))?;
        out.raw(value.map_or(&[], |text| text.as_bytes()));
        Ok(())
    }

    fn decode_nullable(input: &mut Reader) -> Result<Option<Self>, CodecError> {
        let Some(length) = input.string_length()? else { return Ok(None) };
        let text = std::str::from_utf8(input.slice(length)?).map(str::to_owned);
        text.map(Some).map_err(|_| input.error(Fault::Utf8))
    }

    fn null_size(shape: Shape) -> usize {
        if shape.flexible { 1 } else { 2 }
    }
}

impl Nullable for Bytes {
    fn encode_nullable(value: Option<&Self>, out: &mut Writer<'_>) -> Result<(), CodecError> {
        out.length(value.map(Self::len))?;
        out.raw(value.map_or(&[], |blob| blob));
        Ok(())
    }

    fn decode_nullable(input: &mut Reader) -> Result<Option<Self>, CodecError> {
        input.length()?.map(|length| input.shared(length)).transpose()
    }

    fn null_size(shape: Shape) -> usize {
        prefix_size(shape)
    }

    fn bulk(&self) -> usize {
        // Its partition's number, the length and a share of the topic's name.
        self.len() + 32
    }
}

impl<T: Encode + Decode> Nullable for Vec<T> {
    fn encode_nullable(value: Option<&Self>, out: &mut Writer<'_>) -> Result<(), CodecError> {
        out.length(value.map(Self::len))?;
        for element in value.map_or(&[][..], Self::as_slice) {
            element.encode(out)?;
        }
        Ok(())
    }

    fn decode_nullable(input: &mut Reader) -> Result<Option<Self>, CodecError> {
        let Some(count) = input.length()? else { return Ok(None) };
        let remaining = input.remaining();
        if count > remaining / T::least_size(input.shape()).max(1) {
            return Err(input.error(Fault::Count { count, remaining }));
        }
        let mut elements = Self::with_capacity(count);
        for _ in 0..count {
            elements.push(T::decode(input)?);
        }
        Ok(Some(elements))
    }

    fn null_size(shape: Shape) -> usize {
        prefix_size(shape)
    }

    fn bulk(&self) -> usize {
        self.iter().map(Encode::bulk).sum()
    }
}

fn prefix_size(shape: Shape) -> usize {
    if shape.flexible { 1 } else { 4 }
}

impl<T: Nullable> Encode for Option<T> {
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
        T::encode_nullable(self.as_ref(), out)
    }

    fn bulk(&self) -> usize {
        self.as_ref().map_or(0, T::bulk)
    }
}

impl<T: Nullable> Decode for Option<T> {
    fn decode(input: &mut Reader) -> Result<Self, CodecError> {
        T::decode_nullable(input)
    }

    fn least_size(shape: Shape) -> usize {
        T::null_size(shape)
    }
}

macro_rules! never_null {
    ($([$($generics:tt)*] $type:ty,)*) => { $(
        impl<$($generics)*> Encode for $type {
            fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
                Self::encode_nullable(Some(self), out)
            }

            fn bulk(&self) -> usize {
                Nullable::bulk(self)
            }
        }

        impl<$($generics)*> Decode for $type {
            fn decode(input: &mut Reader) -> Result<Self, CodecError> {
                Self::decode_nullable(input)?.ok_or_else(|| input.error(Fault::Null))
            }

            fn least_size(shape: Shape) -> usize {
                Self::null_size(shape)
            }
        }
    )* };
}

never_null! {
    [] String,
    [] Bytes,
    [T: Encode + Decode] Vec<T>,
}

/// Gives structures a form for null.
macro_rules! nullable_structures {
    ($($type:ty),*) => { $(
        const _: () = {
            use $crate::wire::codec::{CodecError, Decode, Encode, Fault, Nullable, Reader, Shape, Writer};

            impl Nullable for $type {
                fn encode_nullable(value: Option<&Self>, out: &mut Writer<'_>) -> Result<(), CodecError> {
                    let Some(value) = value else { return (-1_i8).encode(out) };
                    1_i8.encode(out)?;
                    value.encode(out)
                }

                fn decode_nullable(input: &mut Reader) -> Result<Option<Self>, CodecError> {
                    match i8::decode(input)? {
                        -1 => Ok(None),
                        1 => Self::decode(input).map(Some),
                        marker => Err(input.error(Fault::Marker(marker))),
                    }
                }

                fn null_size(_: Shape) -> usize {
                    1
                }
            }
        };
    )* };
}

pub(crate) use nullable_structures;
