//! What is no pass is recorded when it came out twice of the same inputs.

use rebuilder::Digest;
use sqlx::{Connection, SqliteConnection};

use verifier::evidence::{Check, CheckOutcome, Evidence};
use verifier::observation::{AlarmKind, Observation, ObservationKind};
use verifier::queue::{Settled, Why};
use verifier::record::{Record, RecordStatus, VerdictName};
use verifier::store::Store;
use verifier::version::Version;

use super::site::record;

const FILE: &str = "Python-3.13.5.tgz";

/// A rebuild that gave these bytes.
fn different(rebuilt: &str) -> Record {
    let mut record = record("3.13.5");
    record.status = RecordStatus::Fail;
    let artifact = &mut record.artifacts[0];
    artifact.name = FILE.to_owned();
    artifact.verdict = VerdictName::Different;
    artifact.rebuilt.as_mut().unwrap().sha256 = Digest::of(rebuilt.as_bytes());
    record
}

fn passed() -> Record {
    let mut record = record("3.13.5");
    record.artifacts[0].name = FILE.to_owned();
    record
}

/// Every byte came out, and somebody claims another size.
fn disputed() -> Record {
    let mut record = passed();
    record.status = RecordStatus::Fail;
    let (check, outcome) = (Check::Size, CheckOutcome::Disagrees);
    record.evidence.push(Evidence::new(check, FILE, outcome, String::new()));
    record
}

/// A job that is rebuilt with these results; gives how each of them was settled.
async fn settled(store: &Store, rebuilds: &[Record]) -> Vec<Settled> {
    let version: Version = "3.13.5".parse().unwrap();
    store.enqueue(&version, Why::Request).await.unwrap();
    let mut settled = Vec::new();
    for rebuild in rebuilds {
        let lease = store.claim("test").await.unwrap().unwrap();
        settled.push(store.settle(&lease, rebuild).await.unwrap());
    }
    settled
}

/// What was observed, the last first.
async fn observed(store: &Store, kind: ObservationKind) -> Vec<Observation> {
    let all = store.observations(None, 99).await.unwrap();
    all.into_iter().map(|(_, one)| one).filter(|one| one.kind == kind).collect()
}

async fn open_alarms(store: &Store, kind: AlarmKind) -> usize {
    store.alarms().await.unwrap().iter().filter(|alarm| alarm.kind == kind).count()
}

#[tokio::test]
async fn two_rebuilds_that_do_not_agree_are_an_alarm_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let both = [Settled::Confirm, Settled::Recorded];
    let agree = [different("one"), different("one")];
    assert_eq!(settled(&store, &agree).await, both);
    assert_eq!(observed(&store, ObservationKind::RebuildUnstable).await, []);
    let [one, other] = ["one", "other"].map(|text| Digest::of(text.as_bytes()));
    let published = Digest::of(b"3.13.5");
    for (rebuilds, expected) in [
        (
            [different("one"), different("other")],
            format!(
                "{FILE} was different (rebuilt SHA-256 {one}), \
                 then was different (rebuilt SHA-256 {other})"
            ),
        ),
        // A rebuild that comes out is a pass, but not in silence.
        (
            [different("one"), passed()],
            format!(
                "{FILE} was different (rebuilt SHA-256 {one}), \
                 then was reproduced (rebuilt SHA-256 {published})"
            ),
        ),
        ([disputed(), passed()], format!("size of {FILE} disagreed, then did not")),
    ] {
        assert_eq!(settled(&store, &rebuilds).await, both);
        let seen = observed(&store, ObservationKind::RebuildUnstable).await.remove(0);
        let id = &rebuilds[1].id;
        let said = "two rebuilds of the same inputs do not agree, the second is record";
        assert_eq!(seen.detail, format!("{said} {id}: {expected}"));
        assert_eq!(store.newest_of(&"3.13.5".parse().unwrap()).await.unwrap().unwrap().id, *id);
    }
    assert_eq!(open_alarms(&store, AlarmKind::RebuildUnstable).await, 1);
}

#[tokio::test]
async fn a_first_verdict_ends_the_trouble_that_was_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    store.enqueue(&"3.13.5".parse().unwrap(), Why::Release).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    store.retry(&lease, "no network", jiff::Timestamp::now()).await.unwrap();
    let lease = store.claim("test").await.unwrap().unwrap();
    assert_eq!(store.settle(&lease, &different("one")).await.unwrap(), Settled::Confirm);
    let [job] = &store.live_jobs(9).await.unwrap()[..] else { panic!("one job") };
    assert_eq!((job.attempts, &job.error, job.position), (0, &None, Some(1)));
}

#[tokio::test]
async fn a_second_rebuild_of_other_inputs_confirms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let twice = [Settled::Confirm, Settled::Confirm, Settled::Recorded];
    let changes: [fn(&mut Record); 4] = [
        |record| record.source.commit = "5".repeat(40),
        |record| record.environment.digest = "sha256:1".to_owned(),
        |record| record.recipe.digest = "sha256:1".to_owned(),
        |record| record.rebuild.definition = "sha256:1".to_owned(),
    ];
    for change in changes {
        let [mut second, mut third] = [different("other"), different("other")];
        change(&mut second);
        change(&mut third);
        assert_eq!(settled(&store, &[different("one"), second, third]).await, twice);
    }
    // That the tag names another commit is news by itself.
    assert_eq!(open_alarms(&store, AlarmKind::TagMoved).await, 1);
    assert_eq!(store.alarms().await.unwrap().len(), 1);
    assert_eq!(store.records(None, None, 9).await.unwrap().len(), changes.len());
}

#[tokio::test]
async fn a_file_that_changes_between_two_rebuilds_is_observed_and_rebuilt_later() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let mut other = different("one");
    other.artifacts[0].published.sha256 = Digest::of(b"other");
    let rebuilds = [different("one"), other.clone()];
    assert_eq!(settled(&store, &rebuilds).await, [Settled::Confirm; 2]);
    let seen = observed(&store, ObservationKind::FileChanged).await;
    let [was, now] = ["3.13.5", "other"].map(|text| Digest::of(text.as_bytes()));
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    let expected = format!("{FILE} had the SHA-256 {was} and is now served with {now}");
    assert_eq!(seen.detail, expected);
    assert_eq!(open_alarms(&store, AlarmKind::FileChanged).await, 1);
    assert_eq!(store.claim("test").await.unwrap(), None, "it is not rebuilt at once");
    store.move_times(-3_600_000, &[]).await.unwrap();
    assert_eq!(settled(&store, &[other]).await, [Settled::Recorded]);
}

#[tokio::test]
async fn what_an_older_version_kept_of_a_first_rebuild_confirms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.sqlite");
    let store = Store::open(&path).await.unwrap();
    assert_eq!(settled(&store, &[different("one")]).await, [Settled::Confirm]);
    let mut other = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let old = "UPDATE jobs SET unconfirmed = 'x.tgz published 00 rebuilt 00'";
    sqlx::query(old).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let rebuilds = [different("one"), different("one")];
    assert_eq!(settled(&store, &rebuilds).await, [Settled::Confirm, Settled::Recorded]);
    assert_eq!(store.alarms().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_served_and_then_was_not_is_told_whatever_comes_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let mut tampered = different("one");
    tampered.artifacts[0].published.sha256 = Digest::of(b"tampered");
    let both = [Settled::Confirm, Settled::Recorded];
    assert_eq!(settled(&store, &[tampered, passed()]).await, both);
    let [changed] = &observed(&store, ObservationKind::FileChanged).await[..] else { panic!() };
    assert!(changed.detail.contains(&Digest::of(b"tampered").to_string()), "{changed:?}");
    assert_eq!(open_alarms(&store, AlarmKind::FileChanged).await, 1);
    let mut elsewhere = different("one");
    elsewhere.source.commit = "another".to_owned();
    assert_eq!(settled(&store, &[elsewhere, passed()]).await, both);
    assert_eq!(observed(&store, ObservationKind::TagMoved).await.len(), 1);
}

#[tokio::test]
async fn a_claim_that_disagreed_and_cannot_be_checked_lets_nothing_pass() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("records.sqlite")).await.unwrap();
    let with = |outcome, detail: &str| {
        let mut record = if outcome == CheckOutcome::Disagrees { disputed() } else { passed() };
        record.evidence = vec![Evidence::new(Check::Witness, FILE, outcome, detail.to_owned())];
        record
    };
    let unchecked = || with(CheckOutcome::CannotCheck, "mary is away");
    let agreeing = || with(CheckOutcome::Agrees, "");
    let disagreeing = with(CheckOutcome::Disagrees, "mary says so");
    // In the first rebuild of a job; and in a record.
    let first = settled(&store, std::slice::from_ref(&disagreeing)).await;
    assert_eq!(first, [Settled::Confirm]);
    let lease = store.claim("test").await.unwrap().unwrap();
    let refused = format!("{:#}", store.settle(&lease, &unchecked()).await.unwrap_err());
    let expected = format!(
        "witness of {FILE} disagreed in the rebuild before and cannot be checked now (mary is \
         away): without it there is no pass"
    );
    assert_eq!(refused, expected);
    assert_eq!(store.records(None, None, 9).await.unwrap(), []);
    assert_eq!(store.settle(&lease, &agreeing()).await.unwrap(), Settled::Recorded);
    store.refuse_unsettled(&unchecked()).await.unwrap();
    store.append(&disagreeing).await.unwrap();
    // A fail for another reason does not make it forgotten.
    let mut other = different("other");
    other.evidence = unchecked().evidence;
    store.refuse_unsettled(&other).await.unwrap();
    store.append(&other).await.unwrap();
    let refused = format!("{:#}", store.refuse_unsettled(&unchecked()).await.unwrap_err());
    assert!(refused.contains(&format!("record {} and cannot", disagreeing.id)), "{refused}");
    store.refuse_unsettled(&agreeing()).await.unwrap();
    store.append(&agreeing()).await.unwrap();
    store.refuse_unsettled(&unchecked()).await.unwrap();
}
