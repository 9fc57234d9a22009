//! The store from outside: what is pushed comes back, from memory, log and objects alike.

#![cfg(test)]

mod crash;
mod damage;
mod fixtures;
mod keep;
mod private;
mod support;
