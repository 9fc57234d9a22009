//! Orders and stock as plain values: which transitions are legal, and what a reservation does to the stock.
//!
//! Pure: no store, no clock. The ledger applies these rules to what is on disk, one job after the other.
//! Invariant: `sold <= stock` holds after every [`Stock::reserve`], whatever it was asked for.

use serde::{Deserialize, Serialize};

/// Pieces of one item that one order may take: a flash sale is for many people.
pub const QUANTITY_MAX: u32 = 10;
/// Bytes of a buyer's key: a session id or user name, not a document.
pub const BUYER_BYTES_MAX: usize = 64;

/// Where an order stands. States only go forward, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Stock is reserved.
    Created,
    /// Paid.
    Paid,
    /// On its way.
    Shipped,
    /// Delivered; the end.
    Done,
}

impl OrderState {
    /// All states in their order.
    pub const ALL: [Self; 4] = [Self::Created, Self::Paid, Self::Shipped, Self::Done];

    /// The only state that may follow; `None` at the end.
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Created => Some(Self::Paid),
            Self::Paid => Some(Self::Shipped),
            Self::Shipped => Some(Self::Done),
            Self::Done => None,
        }
    }

    /// The word used in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Done => "done",
        }
    }
}

/// One order as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Number within this shop's data directory, from 1.
    pub number: u64,
    /// What.
    pub item: u32,
    /// How many, 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
    /// Who, at most [`BUYER_BYTES_MAX`] bytes.
    pub buyer: String,
    /// Where it stands.
    pub state: OrderState,
}

/// Stock of one item as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Pieces there ever were.
    pub stock: u64,
    /// Pieces that orders hold; never more than `stock`.
    pub sold: u64,
}

impl Stock {
    /// Pieces left.
    pub const fn left(self) -> u64 {
        self.stock.saturating_sub(self.sold)
    }

    /// Takes `quantity` pieces, all or none; `None` when fewer are left.
    pub const fn reserve(self, quantity: u32) -> Option<Self> {
        if self.left() < quantity as u64 {
            return None;
        }
        Some(Self { stock: self.stock, sold: self.sold + quantity as u64 })
    }
}

/// Why the shop did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such item.
    #[error("there is no item {0}")]
    NoItem(u32),
    /// No such order here.
    #[error("there is no order {0} in this version's partition")]
    NoOrder(String),
    /// A quantity or buyer outside its range.
    #[error("{0}")]
    Invalid(String),
    /// Fewer pieces left than asked for.
    #[error("item {item} is sold out: {left} left, {asked} asked for")]
    SoldOut {
        /// Which item.
        item: u32,
        /// Pieces left.
        left: u64,
        /// Pieces asked for.
        asked: u32,
    },
    /// The transition is not legal from the order's state.
    #[error("order {number} is {}, it cannot become {}", from.label(), to.label())]
    Transition {
        /// Which order.
        number: u64,
        /// Where it stands.
        from: OrderState,
        /// What was asked for.
        to: OrderState,
    },
    /// The ledger's queue is full; try again.
    #[error("too many orders are waiting; try again in a moment")]
    Busy,
    /// The store failed; nothing was acknowledged.
    #[error("the order store failed: {0}")]
    Store(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn states_go_forward_one_at_a_time() {
        let walked: Vec<_> = std::iter::successors(Some(OrderState::Created), |state| state.next()).collect();
        assert_eq!(walked, OrderState::ALL);
    }

    proptest! {
        #[test]
        fn reservations_never_exceed_the_stock(stock in 0_u64..50, asked in prop::collection::vec(0_u32..12, 0..40)) {
            let (mut now, mut granted) = (Stock { stock, sold: 0 }, 0_u64);
            for quantity in asked {
                if let Some(after) = now.reserve(quantity) {
                    granted += u64::from(quantity);
                    now = after;
                } else {
                    prop_assert!(u64::from(quantity) > now.left());
                }
                prop_assert_eq!(now.sold, granted);
                prop_assert!(now.sold <= stock);
            }
        }
    }
}
