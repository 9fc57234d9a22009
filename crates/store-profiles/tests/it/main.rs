//! The store from outside: what is pushed comes back, from memory, log and objects alike.

#![cfg(test)]

mod bucket;
mod crash;
mod damage;
mod fixtures;
mod keep;
mod newer;
mod outage;
mod private;
mod senders;
mod support;
