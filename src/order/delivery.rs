//! Delivery orders: goods that go to a customer.

use std::fmt;

use super::codec::fast::Plain;
use super::codec::{self, Build, Core, Sink};
use super::validate::{Draft, Kind};
use super::{Customer, DeliveryAddress, Identity, Order, OrderTime, Violation};

/// A delivery of one product to a customer. Its key is `order_id`, so that one order's deliveries stay in order.
///
/// ```
/// use orderflow::order::{Customer, DeliveryAddress, DeliveryOrder, Order};
/// let order = DeliveryOrder::new("97537", "02758", 35, "5/30/2023")?
///     .with_customer(Customer::default().with_name("Ada Example")?.with_email("ada@example.com")?)
///     .with_delivery_address(DeliveryAddress::default().with_line1("1 High Street")?.with_country("GB")?);
/// let mut value = Vec::new();
/// order.encode(&mut value);
/// let read = DeliveryOrder::decode(&value)?;
/// assert_eq!(read.customer().and_then(Customer::email), Some("ada@example.com"));
/// assert!(!format!("{read:?}").contains("ada@"), "a customer's particulars are masked");
/// # Ok::<(), orderflow::order::Violation>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryOrder {
    core: Core,
    customer: Option<Box<Customer>>,
    delivery_address: Option<Box<DeliveryAddress>>,
}

impl DeliveryOrder {
    /// A delivery of `quantity` pieces of `product_id`.
    ///
    /// # Errors
    /// The first rule that an argument breaks.
    pub fn new(order_id: &str, product_id: &str, quantity: u32, timestamp: &str) -> Result<Self, Violation> {
        Ok(Self::of_core(Core::new(order_id, product_id, quantity, timestamp)?))
    }

    /// Says who is told about the delivery.
    #[must_use]
    pub fn with_customer(mut self, customer: Customer) -> Self {
        self.customer = Some(Box::new(customer));
        self
    }

    /// Says where the goods go.
    #[must_use]
    pub fn with_delivery_address(mut self, address: DeliveryAddress) -> Self {
        self.delivery_address = Some(Box::new(address));
        self
    }

    /// Who is told about the delivery.
    #[must_use]
    pub fn customer(&self) -> Option<&Customer> {
        self.customer.as_deref()
    }

    /// Where the goods go.
    #[must_use]
    pub fn delivery_address(&self) -> Option<&DeliveryAddress> {
        self.delivery_address.as_deref()
    }

    pub(super) fn of_core(core: Core) -> Self {
        Self { core, customer: None, delivery_address: None }
    }

    fn write(&self, sink: &mut impl Sink) {
        self.core.write_known(b",\"type\":\"delivery\",\"timestamp\":\"", sink);
        if let Some(customer) = &self.customer {
            sink.put(b",\"customer\":");
            customer.write(sink);
        }
        if let Some(address) = &self.delivery_address {
            sink.put(b",\"delivery_address\":");
            address.write(sink);
        }
        self.core.write_rest(sink);
    }
}

impl Build for DeliveryOrder {
    const KIND: Kind = Kind::Delivery;

    #[inline]
    fn of_plain(plain: Plain<'_>) -> Self {
        Self { core: Core::of_plain(&plain), customer: plain.customer, delivery_address: plain.delivery_address }
    }

    fn of_draft(draft: Draft) -> Self {
        Self { core: draft.core, customer: draft.customer, delivery_address: draft.delivery_address }
    }
}

codec::core_accessors!(DeliveryOrder);

impl Order for DeliveryOrder {
    const TYPE: &'static str = "delivery";
    const TOPIC: &'static str = "delivery_orders";

    fn key(&self) -> &[u8] {
        self.core.order_id.as_bytes()
    }

    codec::core_order_methods!();
}

impl fmt::Debug for DeliveryOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("DeliveryOrder");
        self.core.debug_fields(&mut shape);
        shape.field("customer", &self.customer).field("delivery_address", &self.delivery_address).finish()
    }
}
