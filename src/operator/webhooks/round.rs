//! What a round of requests says about a receiver, and what is to be written of it.
//!
//! | of the new hits | means | so |
//! |---|---|---|
//! | all arrived | it is well | on to the next ones |
//! | some, and later ones too | those that failed are special | they are put aside and tried again on their own |
//! | some, but none at the end | it went away meanwhile | those at the end are new again |
//! | none | it is away | all wait, as long as the specification says; after three days it is ended |
//!
//! So a receiver that is away costs a row however long it is away, and one that never takes a
//! certain hit still gets all others. A hit that was put aside is tried again only while others
//! arrive, or where there are none.

use std::time::Duration;

use uuid::Uuid;

use super::post::{Answer, Failure};
use crate::model::clock::Micros;
use crate::model::webhook::next_attempt;
use crate::store::webhooks::{Ended, SentRound, Webhook, WebhookAttempt, WebhookFailure};

/// Most hits of a receiver that are put aside. Beyond that it counts as away.
const MOST_ASIDE: i64 = 1_000;
/// Most failed attempts of a round that are noted.
const MOST_NOTED: usize = 20;

/// A hit of a round.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) seq: i64,
    /// Attempts before, if it was put aside.
    pub(super) before: Option<i64>,
    /// `None`: the round ended before its turn.
    pub(super) answer: Option<Answer>,
}

impl Sent {
    fn has_arrived(&self) -> bool {
        self.answer == Some(Answer::Taken)
    }

    fn failure(&self) -> Option<&Failure> {
        match &self.answer {
            Some(Answer::Gone(failure) | Answer::Failed(failure)) => Some(failure),
            _ => None,
        }
    }
}

/// A round that is over.
pub(super) struct Round<'r> {
    pub(super) webhook: &'r Webhook,
    pub(super) owner: Uuid,
    /// In the order of their numbers.
    pub(super) new: Vec<Sent>,
    /// Up to here there is no other new hit.
    pub(super) reached: i64,
    /// Those that had been put aside.
    pub(super) again: Vec<Sent>,
    /// Hits that had been put aside and are not there any more.
    pub(super) vanished: Vec<i64>,
    pub(super) now: Micros,
    /// Any number.
    pub(super) chance: u64,
}

impl Round<'_> {
    /// What is to be written.
    pub(super) fn settle(self) -> SentRound {
        let Self { webhook, now, .. } = self;
        let all = || self.new.iter().chain(&self.again);
        let arrived = all().filter(|sent| sent.has_arrived()).count() as i64;
        let is_gone = all().any(|sent| matches!(sent.answer, Some(Answer::Gone(_))));
        let asked = all().filter_map(|sent| sent.failure()?.retry_after).max();
        let (sent_to, mut failures) = self.new_ones(asked);
        let is_behind = sent_to < self.reached;
        let is_away = is_behind && arrived == 0;
        if !is_away {
            failures.extend(self.failed_again(asked));
        }
        let mended = self.again.iter().filter(|sent| sent.has_arrived());
        let mended = mended
            .map(|sent| sent.seq)
            .chain(self.vanished.iter().copied());
        let attempts: Vec<_> = all().filter_map(|sent| attempt(sent, now)).collect();
        let failed_rounds = match (is_away, arrived) {
            (true, _) => webhook.attempts + 1,
            (false, 0) => webhook.attempts,
            (false, _) => 0,
        };
        let next_at = match is_away {
            true => next_attempt(now, failed_rounds, asked, self.chance),
            false => asked
                .filter(|_| is_behind)
                .and_then(|asked| next_attempt(now, 1, Some(asked), self.chance)),
        };
        SentRound {
            id: webhook.id,
            owner: self.owner,
            was: webhook.sent_to,
            sent_to,
            arrived,
            mended: mended.collect(),
            failures,
            attempts: attempts[attempts.len().saturating_sub(MOST_NOTED)..].to_vec(),
            failed_rounds,
            failing_since: (failed_rounds > 0).then(|| webhook.failing_since.unwrap_or(now)),
            next_at,
            ended: match (is_gone, is_away && next_at.is_none()) {
                (true, _) => Some(Ended::Gone),
                (false, true) => Some(Ended::Failing),
                (false, false) => None,
            },
            now,
        }
    }

    /// Up to where the new hits are done, and those of them that are put aside.
    fn new_ones(&self, asked: Option<i64>) -> (i64, Vec<WebhookFailure>) {
        let last = self.new.iter().rposition(Sent::has_arrived);
        let mut failures = Vec::new();
        for (index, sent) in self.new.iter().enumerate() {
            let behind = sent.seq - 1;
            if last.is_none_or(|last| index > last) {
                return (behind, failures);
            }
            match &sent.answer {
                Some(Answer::Taken) => {}
                Some(Answer::Failed(failure)) => {
                    if self.webhook.failures + failures.len() as i64 >= MOST_ASIDE {
                        return (behind, failures);
                    }
                    failures.push(self.put_aside(sent.seq, 1, failure, asked));
                }
                // Nothing more is sent, or its turn did not come: it stays new.
                Some(Answer::Gone(_)) | None => return (behind, failures),
            }
        }
        (self.reached, failures)
    }

    fn failed_again(&self, asked: Option<i64>) -> impl Iterator<Item = WebhookFailure> {
        self.again.iter().filter_map(move |sent| {
            let attempts = sent.before.unwrap_or(0) + 1;
            match &sent.answer {
                Some(Answer::Failed(failure)) => {
                    Some(self.put_aside(sent.seq, attempts, failure, asked))
                }
                _ => None,
            }
        })
    }

    fn put_aside(
        &self,
        seq: i64,
        attempts: i64,
        failure: &Failure,
        asked: Option<i64>,
    ) -> WebhookFailure {
        // Each its own chance: they failed together and should not come back together.
        let chance = self
            .chance
            .wrapping_add(seq.unsigned_abs().wrapping_mul(7_919));
        WebhookFailure {
            seq,
            attempts,
            failed_at: self.now,
            next_at: next_attempt(self.now, attempts, asked, chance),
            status: failure.status.map(i64::from),
            answer: failure.answer.clone(),
        }
    }
}

fn attempt(sent: &Sent, now: Micros) -> Option<WebhookAttempt> {
    let failure = sent.failure()?;
    let milliseconds = |took: Duration| i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    Some(WebhookAttempt {
        number: 0,
        seq: sent.seq,
        attempted_at: now,
        milliseconds: milliseconds(failure.took),
        status: failure.status.map(i64::from),
        answer: failure.answer.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::webhook::WebhookId;
    use crate::store::hits::HitFilter;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    fn webhook() -> Webhook {
        Webhook {
            id: WebhookId(Uuid::nil()),
            url: String::new(),
            label: None,
            filter: HitFilter::default(),
            sent_to: 10,
            sent: 0,
            last_sent_at: None,
            attempts: 0,
            failing_since: None,
            next_at: None,
            ended_at: None,
            ended_because: None,
            lease_owner: None,
            created_at: NOW,
            failures: 0,
            retry_at: None,
        }
    }

    fn failure(status: Option<u16>, retry_after: Option<i64>) -> Failure {
        Failure {
            status,
            answer: "no".to_owned(),
            retry_after,
            took: Duration::from_millis(7),
        }
    }

    /// Hits 11, 13, 15 and so on: `+` arrived, `-` failed, `g` is gone, `.` was not sent.
    fn sent(answers: &str, before: Option<i64>) -> Vec<Sent> {
        let answers = answers.chars().enumerate();
        answers
            .map(|(index, answer)| Sent {
                seq: 11 + 2 * index as i64,
                before,
                answer: match answer {
                    '+' => Some(Answer::Taken),
                    '-' => Some(Answer::Failed(failure(Some(500), None))),
                    'g' => Some(Answer::Gone(failure(Some(410), None))),
                    _ => None,
                },
            })
            .collect()
    }

    fn settle(webhook: &Webhook, new: &str, again: &str) -> SentRound {
        let round = Round {
            webhook,
            owner: Uuid::nil(),
            new: sent(new, None),
            reached: 100,
            again: sent(again, Some(3)),
            vanished: Vec::new(),
            now: NOW,
            chance: 0,
        };
        round.settle()
    }

    fn seqs(failures: &[WebhookFailure]) -> Vec<i64> {
        failures.iter().map(|failure| failure.seq).collect()
    }

    #[test]
    fn what_arrived_or_is_put_aside_is_done_and_nothing_else() {
        for (answers, sent_to, aside) in [
            ("", 100, &[][..]),
            ("+++", 100, &[]),
            ("+-+", 100, &[13]),
            ("--+", 100, &[11, 13]),
            // It may have gone away: these are new again.
            ("++-", 14, &[]),
            ("+-+--", 16, &[13]),
            ("+--..", 12, &[]),
            // A place that was not sent is never passed.
            ("+.+", 12, &[]),
            ("---", 10, &[]),
            ("...", 10, &[]),
            ("+g+", 12, &[]),
        ] {
            let round = settle(&webhook(), answers, "");
            assert_eq!(round.sent_to, sent_to, "{answers}");
            assert_eq!(seqs(&round.failures), aside, "{answers}");
        }
    }

    #[test]
    fn a_receiver_that_takes_nothing_waits_longer_and_longer_and_is_ended_after_days() {
        let mut webhook = webhook();
        let first = settle(&webhook, "-...", "");
        assert_eq!((first.failed_rounds, first.failing_since), (1, Some(NOW)));
        assert_eq!(first.next_at, Some(Micros(NOW.0 + 5 * Micros::SECOND)));
        assert_eq!(first.ended, None);
        webhook.attempts = 9;
        webhook.failing_since = Some(Micros(5));
        let last = settle(&webhook, "----", "");
        assert_eq!((last.ended, last.next_at), (Some(Ended::Failing), None));
        assert_eq!(last.failing_since, Some(Micros(5)));
        let back = settle(&webhook, "+---", "");
        assert_eq!((back.failed_rounds, back.failing_since), (0, None));
        assert_eq!((back.ended, back.next_at), (None, None));
    }

    #[test]
    fn what_was_put_aside_counts_only_while_others_arrive_or_alone() {
        let webhook = webhook();
        assert_eq!(seqs(&settle(&webhook, "--", "--").failures), [0; 0]);
        let alive = settle(&webhook, "++", "+-");
        assert_eq!((seqs(&alive.failures), alive.mended), (vec![13], vec![11]));
        assert_eq!(alive.failures[0].attempts, 4);
        assert_eq!(alive.arrived, 3);
        let alone = settle(&webhook, "", "-");
        assert_eq!((alone.failures[0].attempts, alone.failed_rounds), (4, 0));
        assert_eq!(alone.ended, None);
    }

    #[test]
    fn a_receiver_that_is_gone_is_ended_at_once() {
        let round = settle(&webhook(), "++g.", "");
        assert_eq!((round.ended, round.sent_to), (Some(Ended::Gone), 14));
        assert_eq!(settle(&webhook(), "", "g").ended, Some(Ended::Gone));
    }

    #[test]
    fn more_than_so_many_are_not_put_aside() {
        let mut webhook = webhook();
        webhook.failures = MOST_ASIDE - 1;
        let round = settle(&webhook, "--+", "");
        assert_eq!((round.sent_to, seqs(&round.failures)), (12, vec![11]));
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it() {
        let webhook = webhook();
        let minute = 60 * Micros::SECOND;
        let mut new = sent("+-", None);
        new[1].answer = Some(Answer::Failed(failure(Some(429), Some(minute))));
        let round = Round {
            webhook: &webhook,
            owner: Uuid::nil(),
            new,
            reached: 100,
            again: Vec::new(),
            vanished: vec![7],
            now: NOW,
            chance: 0,
        };
        let round = round.settle();
        assert_eq!(round.next_at, Some(Micros(NOW.0 + minute)));
        assert_eq!((round.failed_rounds, round.mended), (0, vec![7]));
        assert_eq!(round.attempts.len(), 1);
    }
}
