//! Generation: orders made up from a seed, the same in every release.
//!
//! Examples, tests and measurements need many orders without a file. They look like those of the fixtures; everything
//! about a person is fictional, with addresses of `example.com`.
//!
//! ```
//! use orderflow::order::{InventoryOrder, generate::Generator};
//! let orders: Vec<InventoryOrder> = Generator::new(7).take(3).collect();
//! assert_eq!(orders, Generator::new(7).take(3).collect::<Vec<_>>());
//! ```

use std::marker::PhantomData;

use chrono::NaiveDate;
use compact_str::CompactString;

use super::codec::Core;
use super::{Customer, DeliveryAddress, DeliveryOrder, InventoryOrder, Order, OrderTime, Violation};

const FIRST_NAMES: &[&str] =
    &["Ada", "Grace", "Tom", "Mary", "Ibrahim", "Olena", "Wei", "Nia", "Hugo", "Ines", "Raj", "Zoë"];
const LAST_NAMES: &[&str] =
    &["Example", "Sample", "Specimen", "Model", "Muster", "Fictional", "Pattern", "Placeholder"];
const STREETS: &[&str] = &["High Street", "Example Road", "Sample Avenue", "Model Close", "Quay Street", "Mill Lane"];
/// City, region, postal code, country.
const CITIES: &[[&str; 4]] = &[
    ["Exampleton", "Kent", "CT1 1AA", "GB"],
    ["Springfield", "IL", "62701", "US"],
    ["Beispielstadt", "Hessen", "60311", "DE"],
    ["Ejemplo", "Málaga", "29001", "ES"],
    ["Galway", "Connacht", "H91 E2K3", "IE"],
    ["Lagos", "Lagos", "100001", "NG"],
];

/// A stream of numbers that a seed decides: SplitMix64, as published by Steele, Lea and Flood (2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: u32) -> u32 {
        // The upper half of a 32 by 32 bit product is below the bound and as even as orders made up need it.
        (((self.bits() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// One of these; nothing of nothing.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(u32::try_from(all.len()).unwrap_or(u32::MAX)) as usize)
    }
}

/// An order type that can be made up.
pub trait Generate: Order {
    /// Makes up the next order of the stream.
    fn generate(chance: &mut Chance) -> Self;
}

/// Orders made up from a seed, without an end and without identities.
#[derive(Clone, Debug)]
pub struct Generator<O> {
    chance: Chance,
    orders: PhantomData<fn() -> O>,
}

impl<O: Generate> Generator<O> {
    /// The orders of this seed: the same in every release.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), orders: PhantomData }
    }
}

impl<O: Generate> Iterator for Generator<O> {
    type Item = O;

    #[inline]
    fn next(&mut self) -> Option<O> {
        Some(O::generate(&mut self.chance))
    }
}

impl Generate for InventoryOrder {
    /// A receipt of 1 to 99 pieces of one of 111,110 products.
    #[inline]
    fn generate(chance: &mut Chance) -> Self {
        Self::of_core(core(chance))
    }
}

impl Generate for DeliveryOrder {
    /// A delivery of 1 to 99 pieces to a customer with an address.
    fn generate(chance: &mut Chance) -> Self {
        let mut order = Self::of_core(core(chance));
        // The texts are ours and short, so that none is refused.
        if let Ok(customer) = customer(chance) {
            order = order.with_customer(customer);
        }
        if let Ok(address) = address(chance) {
            order = order.with_delivery_address(address);
        }
        order
    }
}

#[inline]
fn core(chance: &mut Chance) -> Core {
    let order_id = number(chance);
    let product_id = number(chance);
    let quantity = 1 + chance.below(99);
    let timestamp = day(chance);
    Core { order_id, product_id, quantity, timestamp, identity: None, extra: None }
}

/// One to five digits, of which the first may be zeros.
#[inline]
fn number(chance: &mut Chance) -> CompactString {
    let length = 1 + chance.below(5);
    let mut value = chance.below(10_u32.pow(length));
    let mut digits = [b'0'; 5];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    let text = digits.get(digits.len() - length as usize..).unwrap_or(&digits);
    CompactString::new(std::str::from_utf8(text).unwrap_or("0"))
}

/// A day of 2023 or 2024.
#[inline]
fn day(chance: &mut Chance) -> OrderTime {
    let first = NaiveDate::from_yo_opt(2023, 1).unwrap_or_default();
    OrderTime::of_day(first + chrono::Days::new(u64::from(chance.below(731))))
}

fn customer(chance: &mut Chance) -> Result<Customer, Violation> {
    let first = chance.one_of(FIRST_NAMES).copied().unwrap_or_default();
    let last = chance.one_of(LAST_NAMES).copied().unwrap_or_default();
    let ascii = if first.is_ascii() { first } else { "zoe" };
    let email = compact_str::format_compact!("{}{}@example.com", ascii.to_ascii_lowercase(), chance.below(1_000));
    let customer =
        Customer::default().with_name(&compact_str::format_compact!("{first} {last}"))?.with_email(&email)?;
    if chance.below(2) == 0 {
        return Ok(customer);
    }
    // 01632 960000 to 960999 are kept free for fiction.
    customer.with_phone(&compact_str::format_compact!("+44 1632 960{:03}", chance.below(1_000)))
}

fn address(chance: &mut Chance) -> Result<DeliveryAddress, Violation> {
    let street = chance.one_of(STREETS).copied().unwrap_or_default();
    let line1 = compact_str::format_compact!("{} {street}", 1 + chance.below(200));
    let [city, region, postal_code, country] = chance.one_of(CITIES).copied().unwrap_or_default();
    let address = DeliveryAddress::default().with_line1(&line1)?.with_city(city)?.with_region(region)?;
    let address = address.with_postal_code(postal_code)?.with_country(country)?;
    if chance.below(4) > 0 {
        return Ok(address);
    }
    address.with_line2(&compact_str::format_compact!("Flat {}", 1 + chance.below(20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<O: Generate>(seed: u64, count: usize) -> Vec<String> {
        let text = |order: O| {
            let mut value = Vec::new();
            order.encode(&mut value);
            String::from_utf8(value).unwrap()
        };
        Generator::<O>::new(seed).take(count).map(text).collect()
    }

    #[test]
    fn a_seed_gives_the_orders_that_it_always_gave() {
        assert_eq!(
            texts::<InventoryOrder>(7, 3),
            [
                r#"{"order_id":"01","product_id":"58293","quantity":45,"type":"inventory","timestamp":"7/2/2023"}"#,
                r#"{"order_id":"328","product_id":"4","quantity":11,"type":"inventory","timestamp":"12/2/2024"}"#,
                r#"{"order_id":"87133","product_id":"54828","quantity":88,"type":"inventory","timestamp":"8/27/2023"}"#
            ]
        );
        assert_eq!(
            texts::<DeliveryOrder>(7, 2),
            [
                r#"{"order_id":"01","product_id":"58293","quantity":45,"type":"delivery","timestamp":"7/2/2023","customer":{"name":"Olena Specimen","email":"olena134@example.com"},"delivery_address":{"line1":"192 High Street","city":"Lagos","region":"Lagos","postal_code":"100001","country":"NG"}}"#,
                r#"{"order_id":"54828","product_id":"32636","quantity":62,"type":"delivery","timestamp":"7/7/2024","customer":{"name":"Hugo Example","email":"hugo344@example.com"},"delivery_address":{"line1":"193 Mill Lane","city":"Exampleton","region":"Kent","postal_code":"CT1 1AA","country":"GB"}}"#
            ]
        );
    }

    #[test]
    fn what_is_made_up_is_valid_and_seeds_differ() {
        fn check<O: Generate>() {
            for (order, text) in Generator::<O>::new(1).zip(texts::<O>(1, 2_000)) {
                assert_eq!(O::decode(text.as_bytes()).unwrap(), order);
                assert_eq!(text.len(), order.encoded_len());
            }
            assert_ne!(texts::<O>(1, 5), texts::<O>(2, 5));
        }
        check::<InventoryOrder>();
        check::<DeliveryOrder>();
    }

    #[test]
    fn every_digit_count_and_the_whole_range_of_quantities_occur() {
        let orders: Vec<InventoryOrder> = Generator::new(3).take(5_000).collect();
        for digits in 1..=5 {
            assert!(orders.iter().any(|order| order.order_id().len() == digits && order.order_id().starts_with('0')));
        }
        let quantities = orders.iter().map(InventoryOrder::quantity);
        assert_eq!((quantities.clone().min(), quantities.max()), (Some(1), Some(99)));
    }
}
