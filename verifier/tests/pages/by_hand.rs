//! The steps of a record as a script: what a shell does with it.

use std::fs;
use std::process::{Command, Stdio};

use super::world::{World, pass};

#[tokio::test]
async fn the_script_of_a_record_runs_its_steps_as_they_are() {
    let world = World::empty().await;
    let work = tempfile::tempdir().unwrap();
    let mut record = pass("3.13.5");
    let parameters = &mut record.definition.internal_parameters;
    let odd = "it's \"$HOME\"\t`id`\n\\n";
    parameters.environment = [("VALUE".to_owned(), odd.to_owned())].into();
    // The first one would take the rest of the script for its own input.
    parameters.steps[0].run = "cat > out/input\n".to_owned();
    parameters.steps[1].run =
        "printf '%s' \"$VALUE it's\" > out/'a b'\npwd > out/where\n".to_owned();
    parameters.outputs = ["input", "a b"].map(str::to_owned).to_vec();
    world.store.append(&record).await.unwrap();
    let script = world.resource(&format!("/records/{}/steps.sh", record.id)).await.unwrap();
    assert_eq!(script.media_type, "text/plain; charset=utf-8");
    let script = String::from_utf8(script.body).unwrap();
    assert!(script.contains("export TZ='UTC'\n") && script.contains("\numask 022\n"), "{script}");
    let place = work.path().display().to_string();
    fs::write(work.path().join("steps.sh"), script.replace("/work", &place)).unwrap();
    let ran = Command::new("bash")
        .stdin(Stdio::from(fs::File::open(work.path().join("steps.sh")).unwrap()))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let out = |name: &str| fs::read_to_string(work.path().join("out").join(name)).unwrap();
    assert_eq!((out("input"), out("a b")), (String::new(), format!("{odd} it's")));
    assert_eq!(out("where").trim_end(), place);
    let digests = String::from_utf8(ran.stdout).unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  input\n";
    assert!(digests.starts_with(empty) && digests.ends_with("  a b\n"), "{digests}");
}

#[tokio::test]
async fn the_commands_of_a_record_name_its_environment_its_tag_and_its_script() {
    let world = World::empty().await;
    let mut record = pass("3.13.5");
    record.source.repository = "/srv/it's".to_owned();
    world.store.append(&record).await.unwrap();
    let page = world.page(&format!("/records/{}", record.id)).await;
    for command in [
        "verbatim environment export debian-13 environment\n",
        "git clone --bare --depth 1 --branch v3.13.5 &#39;/srv/it&#39;\\&#39;&#39;s&#39; source\n",
        &format!("steps.sh http://127.0.0.1:8470/records/{}/steps.sh\n", record.id),
        "--volume &#34;$PWD/work:/work:Z&#34; oci:environment bash &#60; steps.sh\n",
    ] {
        assert!(page.contains(command), "{command}: {page}");
    }
}
