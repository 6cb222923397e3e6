//! Below which stock a product is to be restocked.

use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, ErrorCode};

/// Reorder levels: one for all products, and others for single ones.
///
/// When an order takes a product's stock from its level or above to below it, one
/// [`OutboxRow::StockAlert`](super::OutboxRow::StockAlert) is left in the order's own transaction: one for each crossing.
/// A changed level counts for what is applied from now on; all processes of a group should have the same.
///
/// ```
/// use orderflow::store::ReorderLevels;
/// let levels: ReorderLevels = "02758=20, 9=0".parse()?;
/// let levels = levels.or_else(5);
/// assert_eq!((levels.of("02758"), levels.of("9"), levels.of("7")), (Some(20), None, Some(5)));
/// # Ok::<(), orderflow::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReorderLevels {
    /// For products without a level of their own; 0: none.
    others: i64,
    /// By product, sorted.
    products: Arc<[(Box<str>, i64)]>,
}

impl ReorderLevels {
    /// The same, with this level for all products that have none of their own; 0: none.
    #[must_use]
    pub fn or_else(self, level: u64) -> Self {
        Self { others: i64::try_from(level).unwrap_or(i64::MAX), ..self }
    }

    /// The level of a product, if it has one.
    #[must_use]
    pub fn of(&self, product: &str) -> Option<i64> {
        let own = self.products.binary_search_by(|(name, _)| name.as_ref().cmp(product)).ok();
        let level = own.and_then(|at| self.products.get(at)).map_or(self.others, |(_, level)| *level);
        (level > 0).then_some(level)
    }
}

impl FromStr for ReorderLevels {
    type Err = Error;

    /// Reads `product=level`, separated by commas. A product whose name has a comma cannot be named; the level stands behind
    /// the last `=`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut products = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let read = part.rsplit_once('=').and_then(|(name, level)| Some((name.trim(), level.trim().parse().ok()?)));
            let unreadable = || {
                Error::new(ErrorCode::ConfigValue, format!("`{part}` is no product with its reorder level"))
                    .remedy("write product=level, separated by commas")
            };
            let (name, level) = read.filter(|(_, level): &(&str, i64)| *level >= 0).ok_or_else(unreadable)?;
            products.push((Box::from(name), level));
        }
        products.sort_unstable();
        Ok(Self { others: 0, products: products.into() })
    }
}

/// Whether stock fell below a level.
pub(crate) fn has_crossed(level: Option<i64>, before: i64, after: i64) -> bool {
    level.is_some_and(|level| before >= level && after < level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_cannot_be_read_is_refused_with_what_is_wanted() {
        for text in ["02758", "02758=", "=x", "9=-1", "9=1,8"] {
            let error = text.parse::<ReorderLevels>().unwrap_err();
            assert_eq!(error.code(), ErrorCode::ConfigValue, "{text}");
        }
        assert_eq!("".parse::<ReorderLevels>().unwrap(), ReorderLevels::default());
    }

    #[test]
    fn only_the_way_down_through_the_level_is_a_crossing() {
        let level = Some(5);
        for (before, after, crosses) in [(5, 4, true), (9, 0, true), (5, 5, false), (4, 3, false), (4, 6, false)] {
            assert_eq!(has_crossed(level, before, after), crosses, "{before} to {after}");
        }
        assert!(!has_crossed(None, 5, 4));
    }
}
