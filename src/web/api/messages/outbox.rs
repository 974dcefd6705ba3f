//! Answers that their sender has not read yet.
//!
//! Many HTTP clients write a whole body before they read a byte of the answer (Python's `requests`
//! and `urllib`, for two). Were the body not read while the answer is not taken, both sides would
//! wait for each other for ever. So what is stored goes on, and waits here: a little in memory, the
//! rest in a file without a name, which the system frees with the request, however that ends. What
//! waits is the outcome and not the text, about 40 bytes a message however many links it has, and
//! the values of fields where messages are written out; a sender that reads while it writes never
//! touches the file.
//!
//! **How it fails.** Where the file may grow no further, or the disk is full, nothing more is taken
//! in until the sender has taken something: nothing is lost, and a sender that reads only at its
//! end hangs until it gives up. A file that cannot be read back breaks the answer off.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::operator::messages::{MessageError, MessageOutcome};

/// The outcomes of a chunk of lines.
pub(super) type Outcomes = Vec<MessageOutcome>;

/// How much may wait, in bytes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    memory: usize,
    disk: u64,
}

const LIMITS: Limits = Limits {
    // Some 20,000 messages: more than a sender that reads ever lets wait.
    memory: 1 << 20,
    // Some six million messages.
    disk: 256 << 20,
};

/// The queue between storing and writing, in the order of the lines: first what is in memory, then
/// the file, then what has no room.
pub(super) struct Outbox {
    dir: PathBuf,
    limits: Limits,
    memory: VecDeque<Outcomes>,
    bytes: usize,
    file: Option<Spill>,
    without_room: Option<Outcomes>,
    is_told: bool,
}

/// What is in the file: each chunk with its length before it.
struct Spill {
    file: Arc<File>,
    read_to: u64,
    end: u64,
}

impl Outbox {
    /// An empty one; `dir` is where the file would be.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            limits: LIMITS,
            memory: VecDeque::new(),
            bytes: 0,
            file: None,
            without_room: None,
            is_told: false,
        }
    }

    /// Passes on until everything is passed on or nobody takes any more.
    pub(super) async fn run(
        mut self,
        mut from: mpsc::Receiver<Outcomes>,
        to: mpsc::Sender<io::Result<Outcomes>>,
    ) {
        let mut is_end = false;
        while !(is_end && self.is_empty()) {
            tokio::select! {
                biased;
                permit = to.reserve(), if !self.is_empty() => {
                    let Ok(permit) = permit else { return };
                    let taken = self.take().await;
                    let is_broken = taken.is_err();
                    permit.send(taken);
                    if is_broken {
                        return;
                    }
                }
                more = from.recv(), if !is_end && self.without_room.is_none() => match more {
                    Some(outcomes) => self.put(outcomes).await,
                    None => is_end = true,
                },
                () = to.closed() => return,
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.is_file_empty() && self.without_room.is_none()
    }

    fn is_file_empty(&self) -> bool {
        self.file
            .as_ref()
            .is_none_or(|file| file.read_to == file.end)
    }

    async fn put(&mut self, outcomes: Outcomes) {
        let bytes = weigh(&outcomes);
        let fits = self.memory.is_empty() || self.bytes + bytes <= self.limits.memory;
        if fits && self.is_file_empty() {
            self.bytes += bytes;
            self.memory.push_back(outcomes);
        } else if let Err(error) = self.spill(&outcomes).await {
            self.without_room = Some(outcomes);
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!(%error, "there is no room left for unread answers; read the \
                    response while sending");
            }
        }
    }

    /// The oldest, if there is one; makes room for what had none.
    async fn take(&mut self) -> io::Result<Outcomes> {
        let taken = if let Some(outcomes) = self.memory.pop_front() {
            self.bytes -= weigh(&outcomes);
            outcomes
        } else if let Some(file) = self.file.as_mut().filter(|file| file.read_to < file.end) {
            file.read().await.inspect_err(|error| {
                tracing::error!(%error, "cannot read answers to messages back from disk; the \
                    response ends early")
            })?
        } else {
            return Ok(self.without_room.take().unwrap_or_default());
        };
        if let Some(outcomes) = self.without_room.take() {
            self.put(outcomes).await;
        }
        Ok(taken)
    }

    async fn spill(&mut self, outcomes: &Outcomes) -> io::Result<()> {
        let mut bytes = vec![0; 4];
        rmp_serde::encode::write(&mut bytes, outcomes).map_err(io::Error::other)?;
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let dir = self.dir.clone();
                let file = blocking(move || tempfile::tempfile_in(dir)).await?;
                none.insert(Spill {
                    file: Arc::new(file),
                    read_to: 0,
                    end: 0,
                })
            }
        };
        let end = file.end + bytes.len() as u64;
        if end > self.limits.disk {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let (to, at) = (Arc::clone(&file.file), file.end);
        // What a full disk took of it is written over next time.
        blocking(move || to.write_all_at(&bytes, at)).await?;
        file.end = end;
        Ok(())
    }
}

impl Spill {
    async fn read(&mut self) -> io::Result<Outcomes> {
        let (from, at) = (Arc::clone(&self.file), self.read_to);
        let bytes = blocking(move || {
            let mut length = [0; 4];
            from.read_exact_at(&mut length, at)?;
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            from.read_exact_at(&mut bytes, at + 4)?;
            Ok(bytes)
        })
        .await?;
        self.read_to += 4 + bytes.len() as u64;
        if self.read_to == self.end {
            (self.read_to, self.end) = (0, 0);
        }
        rmp_serde::from_slice(&bytes).map_err(io::Error::other)
    }
}

/// Bytes in memory.
fn weigh(outcomes: &Outcomes) -> usize {
    let texts = outcomes.iter().map(|outcome| match outcome {
        Err(MessageError::Line(text) | MessageError::Nobody(text)) => text.len(),
        Err(_) => 0,
        Ok(sent) => sent
            .values
            .iter()
            .map(|value| size_of_val(value) + value.len())
            .sum(),
    });
    size_of_val(outcomes.as_slice()) + texts.sum::<usize>()
}

/// Off the threads that answer redirects: a disk may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{BroadlogId, ContactId};
    use crate::operator::messages::Sent;

    fn chunk(number: i64) -> Outcomes {
        let sent = Sent {
            has_opted_out: false,
            is_cut: false,
            broadlog_id: BroadlogId(number),
            contact_id: ContactId(Uuid::from_u128(number as u128)),
            created_at: Micros(i64::MAX - number),
            values: Box::new([format!("value {number}")]),
        };
        vec![
            Ok(sent),
            Err(MessageError::Line(format!("line {number}"))),
            Err(MessageError::OtherContact),
        ]
    }

    fn outbox(dir: &std::path::Path, memory: usize, disk: u64) -> Outbox {
        Outbox {
            limits: Limits { memory, disk },
            ..Outbox::new(dir.to_owned())
        }
    }

    /// Offers chunks for as long as they are taken in; returns how many were.
    async fn fill(to: &mpsc::Sender<Outcomes>, most: i64) -> i64 {
        for number in 0..most {
            let sent = tokio::time::timeout(Duration::from_millis(300), to.send(chunk(number)));
            if sent.await.is_err() {
                return number;
            }
        }
        most
    }

    async fn all_come_in_order(outbox: Outbox, chunks: i64) -> i64 {
        let (to, from) = mpsc::channel(1);
        let (out, mut answers) = mpsc::channel(1);
        let running = tokio::spawn(outbox.run(from, out));
        let before_any_is_taken = fill(&to, chunks).await;
        let rest = tokio::spawn(async move {
            for number in before_any_is_taken..chunks {
                to.send(chunk(number)).await.unwrap();
            }
        });
        for number in 0..chunks {
            assert_eq!(answers.recv().await.unwrap().unwrap(), chunk(number));
        }
        assert!(answers.recv().await.is_none());
        rest.await.unwrap();
        running.await.unwrap();
        before_any_is_taken
    }

    #[tokio::test]
    async fn what_is_not_taken_waits_in_a_file_and_comes_out_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let taken_in = all_come_in_order(outbox(dir.path(), 1_000, 1 << 20), 500).await;
        assert_eq!(taken_in, 500, "nobody has to wait");
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "nothing with a name");
    }

    #[tokio::test]
    async fn a_sender_that_reads_makes_no_file() {
        let taken_in = all_come_in_order(outbox("/nowhere".as_ref(), 1 << 20, 1 << 20), 500).await;
        assert_eq!(taken_in, 500);
    }

    #[tokio::test]
    async fn where_there_is_no_room_the_next_waits_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let taken_in = all_come_in_order(outbox(dir.path(), 1_000, 3_000), 500).await;
        assert!((20..100).contains(&taken_in), "{taken_in}");
        let taken_in = all_come_in_order(outbox("/nowhere".as_ref(), 1_000, 1 << 20), 500).await;
        assert!((2..20).contains(&taken_in), "{taken_in}");
    }

    #[tokio::test]
    async fn it_ends_when_nobody_takes_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (to, from) = mpsc::channel(1);
        let (out, answers) = mpsc::channel(1);
        let running = tokio::spawn(outbox(dir.path(), 1_000, 3_000).run(from, out));
        fill(&to, 500).await;
        drop(answers);
        running.await.unwrap();
        assert!(to.send(chunk(0)).await.is_err());
    }
}
