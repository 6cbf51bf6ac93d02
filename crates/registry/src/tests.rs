//! Against a stub that speaks the Confluent API, and against the real registry where one runs.

mod real;
mod stub;

use std::time::Duration;

use avro::{DecodeError, Reader, Schema, code};
use model::Cursor;

use crate::{Config, Error, Registry, tests::stub::Stub};

fn config(url: &str) -> Config {
    Config {
        timeout: Duration::from_secs(2),
        retry_for: Duration::from_millis(300),
        unknown_after: Duration::from_millis(300),
        ..Config::new(vec![url.to_owned()])
    }
}

fn registry(stub: &Stub) -> Registry {
    Registry::new(config(&stub.url)).unwrap()
}

const ONE: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1}]}"#;
const TWO: &str =
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1},{"name":"b","type":"int","default":2}]}"#;

#[tokio::test]
async fn the_id_is_that_of_our_own_version_not_of_the_latest() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let first = registry.register("t-value", ONE).await.unwrap();
    let second = registry.register("t-value", TWO).await.unwrap();
    assert_ne!(first, second);
    let spaced = ONE.replace(':', " : ");
    assert_eq!(registry.id_of("t-value", &spaced).await.unwrap(), first);
    assert_eq!(registry.register("t-value", ONE).await.unwrap(), first, "registering again gives the same id");
}

#[tokio::test]
async fn a_missing_subject_or_version_is_named_and_not_transient() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let error = registry.id_of("mdm.golden.item-value", ONE).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { what } if what.contains("mdm.golden.item-value")), "{error}");
    assert!(!error.is_transient());
    registry.register("t-value", ONE).await.unwrap();
    assert!(matches!(registry.id_of("t-value", TWO).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn what_is_transient_is_tried_again_and_never_cached() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let id = registry.register("t-value", ONE).await.unwrap();
    stub.fail_next(1, 503);
    assert_eq!(&*registry.schema(id).await.unwrap(), ONE, "a refusal is ridden out by the back-off");
    for status in [500, 502, 503, 429] {
        let id = registry.register(&format!("t{status}-value"), &ONE.replace("\"R\"", &format!("\"R{status}\""))).await.unwrap();
        stub.fail_next(u32::MAX, status);
        let error = registry.schema(id).await.unwrap_err();
        assert!(error.is_transient(), "{status}: {error}");
        stub.fail_next(0, status);
        assert!(registry.schema(id).await.is_ok(), "{status}: the error was cached");
    }
}

#[tokio::test]
async fn a_known_schema_is_asked_for_once_however_many_ask() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let id = registry.register("t-value", ONE).await.unwrap();
    let before = stub.requests();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.schema(id).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(&*task.await.unwrap(), ONE);
    }
    assert_eq!(stub.requests() - before, 1);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let registry = Registry::new(config("http://127.0.0.1:1/apis/ccompat/v7")).unwrap();
    let error = registry.schema(1).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn the_second_url_serves_when_the_first_does_not() {
    let stub = Stub::start().await;
    let both = Config { urls: vec!["http://127.0.0.1:1".into(), format!("{}/", stub.url)], ..config("") };
    let registry = Registry::new(both).unwrap();
    let id = registry.register("t-value", ONE).await.unwrap();
    assert_eq!(&*registry.schema(id).await.unwrap(), ONE);
    assert_eq!(registry.check_compatibility("t-value", TWO).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn another_programs_404_is_no_verdict() {
    let stub = Stub::start().await;
    let registry = Registry::new(config(&format!("{}/wrong/path", stub.url))).unwrap();
    assert!(matches!(registry.schema(1).await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_with_reasons() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    registry.set_compatibility("t-value", "FULL_TRANSITIVE").await.unwrap();
    registry.register("t-value", ONE).await.unwrap();
    let other = ONE.replace("int", "string").replace(":1}", ":\"\"}");
    assert_eq!(registry.check_compatibility("t-value", &other).await.unwrap(), ["type of `a` changed"]);
    let error = registry.register("t-value", &other).await.unwrap_err();
    assert!(matches!(&error, Error::Incompatible { reasons, .. } if reasons == &["type of `a` changed"]), "{error}");
    assert_eq!(registry.check_compatibility("new-value", &other).await.unwrap(), Vec::<String>::new());
}

#[test]
fn an_address_with_a_password_is_refused_and_not_shown() {
    let Err(error) = Registry::new(config("http://mill:hidden@registry:8081")) else { panic!("it was taken") };
    assert!(error.to_string().contains("--registry-password-file"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn credentials_come_from_a_file_and_wrong_ones_wait() {
    let stub = Stub::start().await;
    stub.demand("Basic bWlsbDpyYWNl"); // mill:race
    let file = std::env::temp_dir().join(format!("millrace-registry-{}", std::process::id()));
    std::fs::write(&file, "race\n").unwrap();
    let with = |username: &str| {
        let config = Config { username: Some(username.into()), password_file: Some(file.clone()), ..config(&stub.url) };
        Registry::new(config).unwrap()
    };
    assert!(with("mill").register("t-value", ONE).await.is_ok());
    assert!(with("mill").check_compatibility("t-value", ONE).await.is_ok());
    let error = with("other").schema(1).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("refuses user other"), "{error}");

    // The registry repeats what it got: a name and a password in Base64.
    std::fs::write(&file, "CANARY-of-the-registry").unwrap();
    let error = with("mill").schema(1).await.unwrap_err().to_string();
    assert!(error.contains("nobody is let in with Basic ***"), "{error}");
    let error = with("mill").check_compatibility("t-value", ONE).await.unwrap_err().to_string();
    assert!(error.contains("nobody is let in with Basic ***"), "{error}");

    // A file that was wrong and is mended needs no new client.
    std::fs::write(&file, "not this one").unwrap();
    let mended = with("mill");
    let error = mended.schema(1).await.unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    std::fs::write(&file, "race").unwrap();
    drop(mended.schema(1).await);
    assert!(mended.schema(1).await.is_ok());
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn a_denied_id_waits_then_is_unreadable_and_is_learned_later_all_the_same() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let reader = Reader::default();
    let value = [0, 0, 0, 0, 1, 0, 0, 0];
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let mut waited = 0;
    // `retry_for` and the spacing of the questions make the pace: no sleep here decides anything.
    while let Err(error) = registry.prepare(&reader, [&value[..]]).await {
        assert!(matches!(error, Error::Pending { id: 1, .. }) && error.is_transient(), "{error}");
        assert!(std::time::Instant::now() < until, "never given up");
        waited += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(waited >= 3, "given up after {waited} tries");
    let answer = reader.decode::<Cursor>(&value);
    assert!(matches!(answer, Err(DecodeError::Unreadable { code: code::SCHEMA_UNKNOWN, .. })), "{answer:?}");

    assert_eq!(registry.register("mdm.cursor.erp-value", Schema::Cursor.text()).await.unwrap(), 1);
    while !reader.knows(1) {
        registry.prepare(&reader, [&value[..]]).await.unwrap();
        assert!(std::time::Instant::now() < until, "never learned");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reader.decode::<Cursor>(&value).unwrap(), Cursor::default());
}

#[tokio::test]
async fn many_unknown_ids_are_asked_for_at_once_and_cost_the_patience_for_one() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let good = registry.register("mdm.cursor.erp-value", Schema::Cursor.text()).await.unwrap();
    let reader = Reader::default();
    let before = stub.requests();
    let ids: Vec<i32> = (1000..1050).chain([good]).collect();
    let error = registry.teach_all(&reader, ids.iter().copied()).await.unwrap_err();
    assert!(matches!(error, Error::Pending { .. }), "{error}");
    assert_eq!(stub.requests() - before, 51, "each was asked for, whatever the first answer was");
    assert!(reader.knows(good) && !reader.has_answer(1000));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while registry.teach_all(&reader, ids.iter().copied()).await.is_err() {
        assert!(std::time::Instant::now() < until, "never given up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(ids.iter().all(|id| reader.has_answer(*id)));
    assert!(stub.requests() - before <= 51 * 4, "{} requests", stub.requests() - before);
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_at_once_however_many_ids_are_open() {
    let registry = Registry::new(config("http://127.0.0.1:1")).unwrap();
    let error = registry.teach_all(&Reader::default(), 0..2_000).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_writer_needs_every_subject() {
    let stub = Stub::start().await;
    let registry = registry(&stub);
    let wanted = [(Schema::Cursor, "mdm.cursor.erp".to_owned()), (Schema::Plan, "mdm.plan".to_owned())];
    registry.register("mdm.cursor.erp-value", Schema::Cursor.text()).await.unwrap();
    let error = registry.writer(&wanted).await.unwrap_err();
    assert!(error.to_string().contains("mdm.plan-value"), "{error}");
    registry.register("mdm.plan-value", Schema::Plan.text()).await.unwrap();
    assert!(registry.writer(&wanted).await.unwrap().encode(&Cursor::default()).is_ok());
}
