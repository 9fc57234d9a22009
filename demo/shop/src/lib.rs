//! The flash-sale shop: a real HTTP service in two versions, and the faults that a bad release of it has.
//!
//! It is what the demonstration protects. Customers look at items, order, pay; one item is hot. Stock never goes below
//! zero, an acknowledged order survives a crash, an order's state only goes forward. `v1` is sound; `v2` is the same
//! code with one or more faults switched on.
//!
//! Each version keeps its own partition: own data directory, own stock, own orders (`v2-17` is order 17 of `v2`). A
//! customer who is sent to the other version half-way finds no such order there; sticky routing avoids that.
//!
//! Where it is told of a recommender, the page of the hot item holds what others bought too, or goes without when the
//! recommender fails.
//!
//! Not here: who gets which version (the gateway), load (`homeostat-load`).

pub mod args;
pub mod fault;
mod http;
pub mod ledger;
mod metrics;
pub mod order;
pub mod recommender;
mod server;

use std::{net::SocketAddr, path::PathBuf};

use tokio_util::sync::CancellationToken;

pub use self::{
    fault::{Fault, Setting},
    http::{HOT_ITEM, VERSION_HEADER},
    server::{BoundShop, ShopError},
};

/// Items of the catalogue unless told otherwise.
pub const ITEMS_DEFAULT: u32 = 100;
/// Pieces of each item unless told otherwise: at a thousand orders a second the hot item lasts a quarter of an hour.
pub const STOCK_DEFAULT: u64 = 1_000_000;

/// What one shop process needs to know.
#[derive(Clone, Debug)]
pub struct ShopConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Which version this is: a word for headers, labels and order ids.
    pub version: String,
    /// Where orders are kept; created when missing. No two shops may share one.
    pub data_dir: PathBuf,
    /// Items `1..=items`.
    pub items: u32,
    /// Pieces of each item that is new to the data directory.
    pub stock: u64,
    /// Faults that are on from the start.
    pub faults: Vec<Setting>,
}

/// Opens the shop and serves until told to stop.
pub async fn serve(config: ShopConfig, stop: CancellationToken) -> Result<(), ShopError> {
    BoundShop::bind(config).await?.run(stop).await;
    Ok(())
}
