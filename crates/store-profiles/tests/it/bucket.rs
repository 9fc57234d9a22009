//! A bucket in memory that fails as buckets do: errors, answers that are lost, objects that vanish.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures_util::stream::BoxStream;
use homeostat_store_objects::Place;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

/// How it fails from now on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Nothing can be read.
    pub(crate) refuses_gets: bool,
    /// Nothing can be written.
    pub(crate) refuses_puts: bool,
    /// So many writes are done and told as failed.
    pub(crate) lost_answers: u32,
    /// The object with this in its name is gone after so many reads of it.
    pub(crate) vanishes: Option<(String, u32)>,
}

/// A bucket; a clone is the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    objects: Arc<InMemory>,
    faults: Arc<Mutex<Faults>>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Bucket {
    pub(crate) fn place(&self) -> Place {
        Place::of(Arc::new(self.clone()), "the test's bucket")
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket that fails")
    }
}

fn failed<T>() -> Result<T> {
    Err(object_store::Error::Generic { store: "bucket", source: "it does not answer".into() })
}

impl ObjectStore for Bucket {
    fn put_opts<'s, 'p, 'a>(
        &'s self,
        location: &'p Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'a, PutResult>
    where
        's: 'a,
        'p: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            if self.faults.lock().unwrap().refuses_puts {
                return failed();
            }
            let put = self.objects.put_opts(location, payload, options).await;
            let mut faults = self.faults.lock().unwrap();
            if 0 < faults.lost_answers {
                faults.lost_answers -= 1;
                return failed();
            }
            put
        })
    }

    fn put_multipart_opts<'s, 'p, 'a>(
        &'s self,
        location: &'p Path,
        options: PutMultipartOptions,
    ) -> Answer<'a, Box<dyn MultipartUpload>>
    where
        's: 'a,
        'p: 'a,
        Self: 'a,
    {
        self.objects.put_multipart_opts(location, options)
    }

    fn get_opts<'s, 'p, 'a>(&'s self, location: &'p Path, options: GetOptions) -> Answer<'a, GetResult>
    where
        's: 'a,
        'p: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            {
                let mut faults = self.faults.lock().unwrap();
                if faults.refuses_gets {
                    return failed();
                }
                match &mut faults.vanishes {
                    Some((name, left)) if location.as_ref().contains(name.as_str()) => match left {
                        0 => {
                            let path = location.to_string();
                            return Err(object_store::Error::NotFound { path, source: "it is gone".into() });
                        }
                        left => *left -= 1,
                    },
                    _ => {}
                }
            }
            self.objects.get_opts(location, options).await
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    fn list_with_delimiter<'s, 'p, 'a>(&'s self, prefix: Option<&'p Path>) -> Answer<'a, ListResult>
    where
        's: 'a,
        'p: 'a,
        Self: 'a,
    {
        self.objects.list_with_delimiter(prefix)
    }

    fn copy_opts<'s, 'f, 't, 'a>(&'s self, from: &'f Path, to: &'t Path, options: CopyOptions) -> Answer<'a, ()>
    where
        's: 'a,
        'f: 'a,
        't: 'a,
        Self: 'a,
    {
        self.objects.copy_opts(from, to, options)
    }
}
