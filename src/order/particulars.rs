//! Particulars: what a delivery order tells about a person, masked in `Debug`.

use std::fmt;

use compact_str::CompactString;

use super::Violation;
use super::codec::Sink;
use super::validate::check_text;

/// An object of optional texts inside an order.
pub(super) trait Record: Default {
    /// Where the text of this name is kept, with its pointer; `None`: the name is unknown.
    fn slot(&mut self, name: &str) -> Option<(&mut Option<CompactString>, &'static str)>;

    /// Keeps the unknown fields, as the inside of a JSON object.
    fn keep(&mut self, extra: Option<Box<str>>);
}

macro_rules! text_record {
    ($(#[$doc:meta])* $record:ident at $pointer:literal { $($(#[$field_doc:meta])* $name:ident / $with:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $record {
            $($name: Option<CompactString>,)*
            extra: Option<Box<str>>,
        }

        impl $record {
            $(
                $(#[$field_doc])*
                #[must_use]
                pub fn $name(&self) -> Option<&str> {
                    self.$name.as_deref()
                }

                #[doc = concat!("Sets `", stringify!($name), "`.")]
                ///
                /// # Errors
                /// The text is longer than [`TEXT_MAX`](super::TEXT_MAX) bytes or holds a control character.
                pub fn $with(mut self, text: &str) -> Result<Self, Violation> {
                    check_text(text, concat!($pointer, "/", stringify!($name)))?;
                    self.$name = Some(CompactString::new(text));
                    Ok(self)
                }
            )*

            pub(super) fn write(&self, sink: &mut impl Sink) {
                let mut before = &b"{"[..];
                $(
                    if let Some(text) = &self.$name {
                        sink.put(before);
                        sink.put(concat!("\"", stringify!($name), "\":").as_bytes());
                        sink.text(text);
                        before = b",";
                    }
                )*
                if let Some(extra) = &self.extra {
                    sink.put(before);
                    sink.put(extra.as_bytes());
                    before = b",";
                }
                sink.put(if before == b"{" { b"{}" } else { b"}" });
            }
        }

        impl Record for $record {
            fn slot(&mut self, name: &str) -> Option<(&mut Option<CompactString>, &'static str)> {
                $(
                    if name == stringify!($name) {
                        return Some((&mut self.$name, concat!($pointer, "/", stringify!($name))));
                    }
                )*
                None
            }

            fn keep(&mut self, extra: Option<Box<str>>) {
                self.extra = extra;
            }
        }

        impl fmt::Debug for $record {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shape = f.debug_struct(stringify!($record));
                $(if self.$name.is_some() { shape.field(stringify!($name), &format_args!("***")); })*
                shape.finish_non_exhaustive()
            }
        }
    };
}

text_record! {
    /// Who is told about a delivery. Every field is optional; unknown fields are kept.
    Customer at "/customer" {
        /// The customer's name.
        name / with_name,
        /// The customer's electronic mail address.
        email / with_email,
        /// The customer's telephone number.
        phone / with_phone,
    }
}

text_record! {
    /// Where a delivery goes. Every field is optional; unknown fields are kept.
    DeliveryAddress at "/delivery_address" {
        /// The first line: usually street and number.
        line1 / with_line1,
        /// The second line.
        line2 / with_line2,
        /// The town or city.
        city / with_city,
        /// The region, state or county.
        region / with_region,
        /// The postal code.
        postal_code / with_postal_code,
        /// The country.
        country / with_country,
    }
}
