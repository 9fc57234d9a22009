//! The order book on disk: one writer thread in front of fjall, many orders in one fsync.
//!
//! Idea: every change goes through one thread, so changes are serialisable by construction and nothing is locked.
//! The thread takes all jobs that wait, applies them to what is on disk plus what the group has changed so far,
//! writes them as one atomic batch, syncs once, and only then answers each of them.
//!
//! Durability: an acknowledged order is on disk (`fdatasync` before the answer) and survives `kill -9` and power loss.
//! One sync a writer would cap the shop at the disk's sync rate; a group shares it (`docs/decisions/0080`).
//!
//! Not here: what is legal (`order`), HTTP (`http`).
//! Invariants: per item, the pieces of all orders together equal `sold`, and `sold <= stock`, in every batch; readers
//! see synced changes only, because fjall applies a batch to its memtable after the sync.

use std::{collections::HashMap, path::Path, thread};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{mpsc, oneshot};

use crate::order::{BUYER_BYTES_MAX, Order, OrderState, QUANTITY_MAX, Refused, Stock};

/// Jobs that may wait: a quarter of a second at the 18,000 changes/s that a group-committing writer reaches. Beyond
/// that, customers hear "busy" at once instead of waiting.
const QUEUE_JOBS_MAX: usize = 4_096;
/// Jobs in one group: bounds the batch at about 100 KiB and the wait of its first job.
const GROUP_JOBS_MAX: usize = 512;
const _: () = assert!(GROUP_JOBS_MAX <= QUEUE_JOBS_MAX);
/// Bytes the store may cache: the whole catalogue fits, old orders are read from disk.
const CACHE_BYTES: u64 = 8 << 20;

type Answer = oneshot::Sender<Result<Order, Refused>>;

enum Job {
    Place { item: u32, quantity: u32, buyer: String, answer: Answer },
    Advance { number: u64, to: OrderState, answer: Answer },
}

/// The order store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store itself said no.
    #[error("the order store in {dir} cannot be opened; is another shop using it?")]
    Store {
        /// Its directory.
        dir: String,
        /// What the store said.
        #[source]
        source: fjall::Error,
    },
    /// A record cannot be read.
    #[error("the order store in {dir} holds a record that cannot be read: {detail}")]
    Record {
        /// Its directory.
        dir: String,
        /// Which record.
        detail: String,
    },
    /// No thread could be started.
    #[error("the ledger's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Handle to the order book: reads go straight to the store, changes through the writer's queue. Dropping the last
/// clone ends the writer after the jobs that wait.
#[derive(Clone)]
pub struct Ledger {
    books: Books,
    jobs: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// The writer thread; join it to know that everything is on disk.
#[derive(Debug)]
pub struct Writer(thread::JoinHandle<()>);

impl Writer {
    /// Waits for the end of the writer. Blocks until the last [`Ledger`] is dropped.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the ledger's writer panicked; acknowledged orders are on disk");
        }
    }
}

impl Ledger {
    /// Opens or creates the store in `dir`. Items `1..=items` that are not there yet get `stock` pieces; those that are
    /// keep theirs.
    pub fn open(dir: &Path, items: u32, stock: u64) -> Result<(Self, Writer), OpenError> {
        let books = Books::open(dir, items, stock)?;
        let last =
            books.last_number().map_err(|detail| OpenError::Record { dir: dir.display().to_string(), detail })?;
        let (jobs, waiting) = mpsc::channel(QUEUE_JOBS_MAX);
        let scribe = Scribe { books: books.clone(), next_number: last + 1, waiting };
        let writer = thread::Builder::new()
            .name("shop-ledger".to_owned())
            .spawn(move || scribe.run())
            .map_err(OpenError::Thread)?;
        Ok((Self { books, jobs }, Writer(writer)))
    }

    /// Stock of one item.
    pub fn stock(&self, item: u32) -> Result<Option<Stock>, Refused> {
        self.books.stock(item)
    }

    /// One order.
    pub fn order(&self, number: u64) -> Result<Option<Order>, Refused> {
        self.books.order(number)
    }

    /// All orders, ascending by number. Reads the whole store: for checks and tests.
    pub fn orders(&self) -> Result<Vec<Order>, Refused> {
        self.books.orders.iter().map(|entry| decode(&entry.value().map_err(store_failed)?)).collect()
    }

    /// Reserves stock and creates an order; returns when it is on disk.
    pub async fn place(&self, item: u32, quantity: u32, buyer: String) -> Result<Order, Refused> {
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            return Err(Refused::Invalid(format!("quantity must be 1 to {QUANTITY_MAX}, {quantity} is not")));
        }
        if buyer.is_empty() || BUYER_BYTES_MAX < buyer.len() {
            return Err(Refused::Invalid(format!("buyer must have 1 to {BUYER_BYTES_MAX} bytes")));
        }
        self.ask(|answer| Job::Place { item, quantity, buyer, answer }).await
    }

    /// Moves an order to `to` if that is the state that follows its present one; returns when that is on disk.
    pub async fn advance(&self, number: u64, to: OrderState) -> Result<Order, Refused> {
        self.ask(|answer| Job::Advance { number, to, answer }).await
    }

    async fn ask(&self, job: impl FnOnce(Answer) -> Job) -> Result<Order, Refused> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(job(answer)).map_err(|_full_or_closed| Refused::Busy)?;
        answered.await.unwrap_or_else(|_gone| Err(Refused::Store("the writer is gone".to_owned())))
    }
}

/// The two keyspaces and how their records look: keys are big-endian numbers, values JSON.
#[derive(Clone)]
struct Books {
    db: Database,
    items: Keyspace,
    orders: Keyspace,
}

impl Books {
    fn open(dir: &Path, items: u32, stock: u64) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Store { dir: dir.display().to_string(), source };
        let db = Database::builder(dir).cache_size(CACHE_BYTES).worker_threads(1).open().map_err(failed)?;
        let books = Self {
            items: db.keyspace("items", KeyspaceCreateOptions::default).map_err(failed)?,
            orders: db.keyspace("orders", KeyspaceCreateOptions::default).map_err(failed)?,
            db,
        };
        let mut batch = books.db.batch().durability(Some(PersistMode::SyncData));
        for item in 1..=items {
            if !books.items.contains_key(item.to_be_bytes()).map_err(failed)? {
                batch.insert(&books.items, item.to_be_bytes(), encode(&Stock { stock, sold: 0 }));
            }
        }
        batch.commit().map_err(failed)?;
        Ok(books)
    }

    fn last_number(&self) -> Result<u64, String> {
        let Some(last) = self.orders.last_key_value() else { return Ok(0) };
        let key = last.key().map_err(|error| error.to_string())?;
        let bytes = <[u8; 8]>::try_from(&*key).map_err(|_| format!("an order's key has {} bytes", key.len()))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn stock(&self, item: u32) -> Result<Option<Stock>, Refused> {
        self.items.get(item.to_be_bytes()).map_err(store_failed)?.map(|value| decode(&value)).transpose()
    }

    fn order(&self, number: u64) -> Result<Option<Order>, Refused> {
        self.orders.get(number.to_be_bytes()).map_err(store_failed)?.map(|value| decode(&value)).transpose()
    }
}

/// The writer: owns the next order number, applies jobs in groups.
struct Scribe {
    books: Books,
    next_number: u64,
    waiting: mpsc::Receiver<Job>,
}

impl Scribe {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut group = Group::new(&self.books, self.next_number);
            group.apply(first);
            while group.answers.len() < GROUP_JOBS_MAX {
                let Ok(job) = self.waiting.try_recv() else { break };
                group.apply(job);
            }
            self.next_number = group.commit();
        }
    }
}

/// Jobs that share one batch and one sync. What the group has changed so far overlays what is on disk.
struct Group<'a> {
    books: &'a Books,
    first_number: u64,
    next_number: u64,
    stocks: HashMap<u32, Stock>,
    orders: HashMap<u64, Order>,
    answers: Vec<(Answer, Result<Order, Refused>)>,
}

impl<'a> Group<'a> {
    fn new(books: &'a Books, next_number: u64) -> Self {
        Self {
            books,
            first_number: next_number,
            next_number,
            stocks: HashMap::new(),
            orders: HashMap::new(),
            answers: Vec::new(),
        }
    }

    fn apply(&mut self, job: Job) {
        let (answer, result) = match job {
            Job::Place { item, quantity, buyer, answer } => (answer, self.place(item, quantity, buyer)),
            Job::Advance { number, to, answer } => (answer, self.advance(number, to)),
        };
        self.answers.push((answer, result));
    }

    fn place(&mut self, item: u32, quantity: u32, buyer: String) -> Result<Order, Refused> {
        let stock = match self.stocks.get(&item) {
            Some(stock) => *stock,
            None => self.books.stock(item)?.ok_or(Refused::NoItem(item))?,
        };
        let after = stock.reserve(quantity).ok_or(Refused::SoldOut { item, left: stock.left(), asked: quantity })?;
        let order = Order { number: self.next_number, item, quantity, buyer, state: OrderState::Created };
        self.next_number += 1;
        self.stocks.insert(item, after);
        self.orders.insert(order.number, order.clone());
        Ok(order)
    }

    fn advance(&mut self, number: u64, to: OrderState) -> Result<Order, Refused> {
        let mut order = match self.orders.get(&number) {
            Some(order) => order.clone(),
            None => self.books.order(number)?.ok_or_else(|| Refused::NoOrder(number.to_string()))?,
        };
        if order.state.next() != Some(to) {
            return Err(Refused::Transition { number, from: order.state, to });
        }
        order.state = to;
        self.orders.insert(number, order.clone());
        Ok(order)
    }

    /// Writes, syncs, answers. When the store fails nothing of the group has happened, and everybody is told so.
    /// Returns the next order number.
    fn commit(self) -> u64 {
        let mut batch = self.books.db.batch().durability(Some(PersistMode::SyncData));
        for (item, stock) in &self.stocks {
            batch.insert(&self.books.items, item.to_be_bytes(), encode(stock));
        }
        for (number, order) in &self.orders {
            batch.insert(&self.books.orders, number.to_be_bytes(), encode(order));
        }
        let failed = batch.commit().map_err(store_failed).err();
        for (answer, result) in self.answers {
            // A customer who no longer listens keeps the order: it is on disk.
            drop(answer.send(failed.clone().map_or(result, Err)));
        }
        if failed.is_some() { self.first_number } else { self.next_number }
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Plain structs of numbers and strings always serialise; an empty record would be reported on reading.
    serde_json::to_vec(value).unwrap_or_default()
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(bytes).map_err(|error| Refused::Store(format!("a record cannot be read: {error}")))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn store_failed(error: fjall::Error) -> Refused {
    Refused::Store(error.to_string())
}
