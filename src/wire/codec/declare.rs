//! Declares messages by their lists of fields.
//!
//! A message of Kafka is a table: name, type, versions, default. [`messages!`] takes that table and makes the struct, its defaults, its
//! documentation of versions, [`Encode`](super::Encode) and [`Decode`](super::Decode):
//!
//! ```text
//! messages! {
//!     /// What the structure is for.
//!     pub struct FetchTopic {
//!         topic: String, ignorable until 12;
//!         topic_id: TopicId, ignorable since 13;
//!         partitions: Vec<FetchPartition>;
//!     }
//!     tagged {
//!         0 => cluster_id: Option<String> = None, ignorable since 12;
//!     }
//! }
//! ```
//!
//! - Fields stand in the order of the wire. `tagged` lists the known tagged fields, which are written when they differ from their default.
//! - `= value` is the schema's default; without it the type's own (0, false, "", no elements, null).
//! - `since 3`, `until 12`: the versions that have the field. In others it is left out; reading gives the default, writing anything but the
//!   default is an error, unless `ignorable` says that the schema lets it be dropped.
//! - `nullable since 10`: earlier versions have the field but no null. Without it an `Option` may be null wherever the field is.
//!
//! The words come in the order shown: `since`, `ignorable since`, `until`, `ignorable until`, `nullable since`.

/// The versions that have a field, with what happens in the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence {
    since: i16,
    until: i16,
    ignorable: bool,
}

impl Presence {
    /// In every version.
    pub(crate) const ALWAYS: Self = Self { since: 0, until: i16::MAX, ignorable: false };

    pub(crate) const fn since(self, version: i16) -> Self {
        Self { since: version, ..self }
    }

    pub(crate) const fn until(self, version: i16) -> Self {
        Self { until: version, ..self }
    }

    pub(crate) const fn ignorable_since(self, version: i16) -> Self {
        Self { since: version, ignorable: true, ..self }
    }

    pub(crate) const fn ignorable_until(self, version: i16) -> Self {
        Self { until: version, ignorable: true, ..self }
    }

    /// Whether the version has the field.
    #[inline]
    pub(crate) const fn is_in(self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }

    /// Whether a value other than the default is an error in a version that lacks the field.
    #[inline]
    pub(crate) const fn is_strict(self) -> bool {
        !self.ignorable
    }
}

/// Makes messages out of lists of fields; see the module's text for the language.
macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $($fields:tt)* }
        $(tagged { $($tagged:tt)* })?
    )+) => { $(
        $crate::wire::codec::messages! { @one $(#[$meta])* $name { $($fields)* } { $($($tagged)*)? } }
    )+ };

    (@one
        $(#[$meta:meta])* $name:ident
        { $(
            $(#[$doc:meta])*
            $field:ident: $type:ty $(= $default:expr)?
            $(, since $since:literal)? $(, ignorable since $lax_since:literal)?
            $(, until $until:literal)? $(, ignorable until $lax_until:literal)?
            $(, nullable since $null_since:literal)?;
        )* }
        { $(
            $(#[$tag_doc:meta])*
            $tag:literal => $tag_field:ident: $tag_type:ty $(= $tag_default:expr)?
            $(, since $tag_since:literal)? $(, ignorable since $tag_lax_since:literal)?;
        )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                $(#[$doc])*
                #[doc = concat!(
                    "\n\n`", stringify!($field), "` of the schema",
                    $(", from version ", stringify!($since),)? $(", from version ", stringify!($lax_since),)?
                    $(", up to version ", stringify!($until),)? $(", up to version ", stringify!($lax_until),)?
                    $(", nullable from version ", stringify!($null_since),)? "."
                )]
                pub $field: $type,
            )*
            $(
                $(#[$tag_doc])*
                #[doc = concat!(
                    "\n\n`", stringify!($tag_field), "` of the schema, tag ", stringify!($tag),
                    $(", from version ", stringify!($tag_since),)? $(", from version ", stringify!($tag_lax_since),)? "."
                )]
                pub $tag_field: $tag_type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $crate::wire::codec::messages!(@default $type $(, $default)?),)*
                    $($tag_field: $crate::wire::codec::messages!(@default $tag_type $(, $tag_default)?),)*
                }
            }
        }

        const _: () = {
            #[allow(unused_imports, reason = "each is used by some lists of fields and not by others")]
            use $crate::wire::codec::{CodecError, Decode, Encode, Fault, Presence, Reader, Shape, Writer, messages};

            /// Where each field is present; one field of this type for each of the message's.
            struct Fields { $($field: Presence,)* $($tag_field: Presence,)* }
            const FIELDS: Fields = Fields {
                $($field: Presence::ALWAYS $(.since($since))? $(.ignorable_since($lax_since))?
                    $(.until($until))? $(.ignorable_until($lax_until))?,)*
                $($tag_field: Presence::ALWAYS $(.since($tag_since))? $(.ignorable_since($tag_lax_since))?,)*
            };

            impl Encode for $name {
                fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
                    let version = out.version();
                    $(
                        if FIELDS.$field.is_in(version) {
                            $(if version < $null_since && self.$field.is_none() {
                                return Err(out.error(Fault::NullField(stringify!($field))));
                            })?
                            self.$field.encode(out)?;
                        } else if FIELDS.$field.is_strict() && self.$field != messages!(@default $type $(, $default)?) {
                            return Err(out.error(Fault::FieldNotInVersion { field: stringify!($field), version }));
                        }
                    )*
                    let set = [$((
                        stringify!($tag_field), FIELDS.$tag_field, self.$tag_field != messages!(@default $tag_type $(, $tag_default)?),
                    ),)*];
                    if !out.begin_tagged_fields(&set)? {
                        return Ok(());
                    }
                    $(
                        if FIELDS.$tag_field.is_in(version) && self.$tag_field != messages!(@default $tag_type $(, $tag_default)?) {
                            out.tagged_field($tag, |out| self.$tag_field.encode(out))?;
                        }
                    )*
                    Ok(())
                }

                fn bulk(&self) -> usize {
                    0 $(+ Encode::bulk(&self.$field))*
                }
            }

            impl Decode for $name {
                fn decode(input: &mut Reader) -> Result<Self, CodecError> {
                    let version = input.version();
                    $(
                        let $field: $type = if FIELDS.$field.is_in(version) {
                            Decode::decode(input)?
                        } else {
                            messages!(@default $type $(, $default)?)
                        };
                        $(if version < $null_since && $field.is_none() {
                            return Err(input.error(Fault::NullField(stringify!($field))));
                        })?
                    )*
                    $(let mut $tag_field: $tag_type = messages!(@default $tag_type $(, $tag_default)?);)*
                    if input.is_flexible() {
                        input.tagged_fields(|_tag, _input| {
                            $(if _tag == $tag && FIELDS.$tag_field.is_in(version) {
                                $tag_field = Decode::decode(_input)?;
                                return Ok(true);
                            })*
                            Ok(false)
                        })?;
                    }
                    Ok(Self { $($field,)* $($tag_field,)* })
                }

                fn least_size(shape: Shape) -> usize {
                    let mut least = usize::from(shape.flexible);
                    $(if FIELDS.$field.is_in(shape.version) {
                        least += <$type as Decode>::least_size(shape);
                    })*
                    least
                }
            }

            #[cfg(test)]
            impl $crate::wire::codec::sample::Sample for $name {
                fn sample(draw: &mut $crate::wire::codec::sample::Draw<'_>, shape: Shape) -> Self {
                    use $crate::wire::codec::sample::Sample;
                    let version = shape.version;
                    let mut value = Self::default();
                    $(
                        if FIELDS.$field.is_in(version) {
                            value.$field = Sample::sample(draw, shape);
                            $(if version < $null_since && value.$field.is_none() {
                                value.$field = Some(Default::default());
                            })?
                        }
                    )*
                    $(
                        if FIELDS.$tag_field.is_in(version) && shape.flexible && draw.is_even() {
                            value.$tag_field = Sample::sample(draw, shape);
                        }
                    )*
                    value
                }
            }
        };
    };

    (@default $type:ty) => { <$type as Default>::default() };
    (@default $type:ty, $default:expr) => { $default };
}

pub(crate) use messages;
