//! Accounts, their last movements, and what is known of references.

use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// Movements that an account keeps.
const ROWS_MAX: usize = 200;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    pub from: usize,
    pub to: usize,
    pub cents: i64,
    pub reference: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub other: usize,
    pub cents: i64,
    pub balance: i64,
    pub reference: String,
}

#[derive(Debug, Default)]
struct Account {
    balance: i64,
    rows: VecDeque<Row>,
}

#[derive(Debug)]
pub struct Book {
    accounts: Vec<Account>,
    posted: u64,
    seen: HashMap<String, u64>,
}

impl Book {
    pub fn with_accounts(count: usize) -> Self {
        let mut book = Self { accounts: Vec::new(), posted: 0, seen: HashMap::new() };
        book.accounts.resize_with(count, Account::default);
        for n in 0..count * 110 {
            let transfer = Transfer {
                from: n * 7 % count,
                to: n * 13 % count,
                cents: (n % 900) as i64,
                reference: format!("OPEN-{n:06}"),
            };
            book.post(&transfer);
        }
        book
    }

    /// Moves the money and returns how many transfers there have been.
    pub fn post(&mut self, transfer: &Transfer) -> u64 {
        for (account, other, cents) in
            [(transfer.from, transfer.to, -transfer.cents), (transfer.to, transfer.from, transfer.cents)]
        {
            if let Some(account) = self.accounts.get_mut(account) {
                account.balance += cents;
                if account.rows.len() == ROWS_MAX {
                    account.rows.pop_front();
                }
                account.rows.push_back(Row {
                    other,
                    cents,
                    balance: account.balance,
                    reference: transfer.reference.clone(),
                });
            }
        }
        self.posted += 1;
        self.posted
    }

    /// Remembers the reference and those that banks derive from it.
    pub fn remember(&mut self, transfer: &Transfer, derived: usize) {
        for n in 0..derived {
            self.seen.insert(format!("{}/{n}/{}", transfer.reference, self.posted), self.posted);
        }
        if self.seen.len() > 500_000 {
            self.seen = HashMap::new();
        }
    }

    pub fn rows(&self, id: usize) -> Vec<Row> {
        self.accounts.get(id).map(|account| account.rows.iter().cloned().collect()).unwrap_or_default()
    }

    /// The accounts with most in them.
    pub fn richest(&self, count: usize) -> Vec<(usize, i64)> {
        let mut all: Vec<_> = self.accounts.iter().enumerate().map(|(id, account)| (id, account.balance)).collect();
        all.sort_by_key(|&(id, balance)| (-balance, id));
        all.truncate(count);
        all
    }
}

/// Checks a transfer's reference; `banks` is how many banks' own rules are asked beside the general one.
pub fn reference_valid(reference: &str, banks: usize) -> bool {
    let general = reference.len() < 60 && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    general
        && (0..banks).all(|bank| {
            Regex::new(&format!(r"^(?:[A-Z]{{2,{}}}-)?[0-9A-Fa-f]+(?:-[[:alnum:]]{{1,9}})?$", bank + 5))
                .is_ok_and(|rule| rule.is_match(reference))
        })
}
