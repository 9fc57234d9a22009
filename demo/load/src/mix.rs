//! What customers do: which request comes next, from a seed.
//!
//! Customers of the shop look at items, order, and pay what they ordered; the hot item gets its share of looks and
//! orders. An order is paid by the customer who placed it, so that sticky routing sends both to the same version.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Orders that wait to be paid: two seconds of a thousand orders a second. The oldest is forgotten when it is full, as
/// customers do.
const UNPAID_MAX: usize = 2_048;

/// What to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Mix {
    /// Customers of the flash-sale shop.
    Shop(ShopMix),
    /// One path, for ever.
    Get(String),
    /// These requests, each as likely as the others.
    Any(Vec<Errand>),
}

/// A request that is always the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// `GET` or `POST`.
    pub method: http::Method,
    /// Path with its query.
    pub path: String,
    /// JSON; empty for none.
    pub body: Bytes,
}

/// Customers of the shop: relative frequencies of what they do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShopMix {
    /// Looks at an item.
    pub browse: u32,
    /// Orders one piece.
    pub order: u32,
    /// Pays an order; a look instead while none waits.
    pub pay: u32,
    /// Items `1..=items`; item 1 is hot.
    pub items: u32,
    /// Share of looks and orders that want the hot item, 0 to 1.
    pub hot_share: f64,
    /// Customers with a key of their own.
    pub users: u32,
}

impl Default for ShopMix {
    /// Mostly looking: nine in ten requests read, as in a sale.
    fn default() -> Self {
        Self { browse: 90, order: 6, pay: 4, items: 100, hot_share: 0.5, users: 100_000 }
    }
}

/// One request before it is HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// `GET` or `POST`.
    pub method: http::Method,
    /// Path.
    pub path: String,
    /// JSON; empty for a `GET`.
    pub body: Bytes,
    /// Who asks.
    pub user: u32,
    /// Whether the answer holds an order to pay.
    pub orders: bool,
}

/// Draws wishes from a mix.
#[derive(Debug)]
pub struct Customers {
    mix: Mix,
    chance: Xoshiro256PlusPlus,
    unpaid: VecDeque<(u32, String)>,
}

impl Customers {
    /// The same seed and the same answers give the same wishes.
    pub fn new(mix: Mix, seed: u64) -> Self {
        // Another stream than the schedule's, which has the same seed.
        Self { mix, chance: Xoshiro256PlusPlus::seed_from_u64(!seed), unpaid: VecDeque::new() }
    }

    /// An order was placed.
    pub fn ordered(&mut self, user: u32, order: String) {
        if self.unpaid.len() == UNPAID_MAX {
            self.unpaid.pop_front();
        }
        self.unpaid.push_back((user, order));
    }

    /// What is asked next.
    pub fn next_wish(&mut self) -> Wish {
        match &self.mix {
            Mix::Get(path) => get(path.clone(), self.chance.random()),
            Mix::Any(errands) => {
                let user = self.chance.random();
                let errand = errands.get(self.chance.random_range(0..errands.len().max(1)));
                errand.map_or_else(|| get("/".to_owned(), user), |errand| errand.wish(user))
            }
            Mix::Shop(mix) => {
                let mix = *mix;
                self.next_of_shop(mix)
            }
        }
    }

    fn next_of_shop(&mut self, mix: ShopMix) -> Wish {
        let user = self.chance.random_range(0..mix.users.max(1));
        let hot = self.chance.random_bool(mix.hot_share.clamp(0.0, 1.0));
        let item = if hot { 1 } else { self.chance.random_range(1..=mix.items.max(1)) };
        let toss = self.chance.random_range(0..(mix.browse + mix.order + mix.pay).max(1));
        if toss < mix.order {
            return order(item, user);
        }
        if toss < mix.order + mix.pay
            && let Some((user, order)) = self.unpaid.pop_front()
        {
            return pay(&order, user);
        }
        get(format!("/items/{item}"), user)
    }
}

impl Errand {
    fn wish(&self, user: u32) -> Wish {
        let Self { method, path, body } = self.clone();
        Wish { method, path, body, user, orders: false }
    }
}

fn get(path: String, user: u32) -> Wish {
    Wish { method: http::Method::GET, path, body: Bytes::new(), user, orders: false }
}

fn order(item: u32, user: u32) -> Wish {
    let body = Bytes::from(format!(r#"{{"item":{item},"quantity":1,"buyer":"u{user}"}}"#));
    Wish { method: http::Method::POST, path: "/orders".to_owned(), body, user, orders: true }
}

fn pay(order: &str, user: u32) -> Wish {
    Wish { method: http::Method::POST, path: format!("/orders/{order}/pay"), body: Bytes::new(), user, orders: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_follow_the_mix_and_orders_are_paid_by_whom_they_belong_to() {
        let mut customers = Customers::new(Mix::Shop(ShopMix::default()), 42);
        let (mut looks, mut hot, mut orders, mut pays) = (0, 0, 0, 0);
        for number in 0..100_000 {
            let wish = customers.next_wish();
            if wish.orders {
                orders += 1;
                customers.ordered(wish.user, format!("v1-{number}-{}", wish.user));
            } else if wish.path.ends_with("/pay") {
                pays += 1;
                assert!(wish.path.ends_with(&format!("-{}/pay", wish.user)), "{wish:?}");
            } else {
                looks += 1;
                hot += usize::from(wish.path == "/items/1");
            }
        }
        // Fixed by the seed; the ranges are four standard deviations around 90 %, 6 %, 4 % and half of the looks.
        assert!((89_600..90_400).contains(&looks), "{looks}");
        assert!((5_700..6_300).contains(&orders), "{orders}");
        assert!((3_750..4_250).contains(&pays), "{pays}");
        assert!((44_800..46_100).contains(&hot), "{hot}");
    }

    #[test]
    fn errands_come_each_as_often_as_the_others() {
        let errand = |path: &str| Errand { method: http::Method::POST, path: path.to_owned(), body: Bytes::from("{}") };
        let mut customers = Customers::new(Mix::Any(vec![errand("/a"), errand("/b")]), 3);
        let wishes: Vec<Wish> = (0..10_000).map(|_| customers.next_wish()).collect();
        assert!(wishes.iter().all(|wish| wish.method == http::Method::POST && wish.body == "{}" && !wish.orders));
        // Four standard deviations around a half.
        assert!((4_800..5_200).contains(&wishes.iter().filter(|wish| wish.path == "/a").count()));
        assert_eq!(Customers::new(Mix::Any(Vec::new()), 3).next_wish().path, "/");
    }

    #[test]
    fn customers_who_never_pay_are_forgotten() {
        let mut customers = Customers::new(Mix::Shop(ShopMix { browse: 0, order: 0, pay: 1, ..ShopMix::default() }), 1);
        (0..=UNPAID_MAX as u32).for_each(|user| customers.ordered(user, user.to_string()));
        assert_eq!(customers.unpaid.len(), UNPAID_MAX);
        assert_eq!(customers.next_wish().path, "/orders/1/pay");
    }
}
