//! The line: six rooms, one door each.
//!
//! `Err` means operating trouble: nothing is recorded, nothing is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use rebuilder::{BuildDefinition, Event, Rebuild, RebuildOrder};
use tokio::sync::oneshot;

use crate::authenticate::testimony::{self, Inquiry};
use crate::authenticate::trust::Trust;
use crate::authenticate::{self, AuthenticFile, AuthenticRelease};
use crate::config::Config;
use crate::definitions::Definitions;
use crate::environment::{self, Environment, EnvironmentSpec, Lock};
use crate::era::{self, EraFinding};
use crate::evidence::{CheckOutcome, Evidence};
use crate::fault;
use crate::feed;
use crate::http::Client;
use crate::payload::PublishedPayload;
use crate::process::Program;
use crate::progress::{Progress, Stage};
use crate::publish::{self, Pair, Report};
use crate::queue::{Lease, Settled};
use crate::recipe::Recipe;
use crate::record::{self, Findings, Named, Record};
use crate::release::Release;
use crate::replay::{self, Bench};
use crate::scratch::Scratch;
use crate::source;
use crate::store::Store;
use crate::verdict::{self, Judged, Verdict};
use crate::version::Version;

/// Witnesses are waited for so long after the rebuild, in seconds.
const LATE_SECONDS_MAX: u64 = 3;

/// What the rooms share: settings, one client, one store, one place to show progress.
#[derive(Clone, Debug)]
pub struct Line {
    pub config: Config,
    pub client: Client,
    pub store: Store,
    pub program: Program,
    pub progress: Progress,
}

/// What the caller of [`verify`] may choose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Directory for record.json, build.log and the member lists.
    pub report: Option<PathBuf>,
    /// Go on although the tag named another commit before.
    pub moved_tag: MovedTag,
    /// The job that this is done for.
    pub job: Option<ForJob>,
}

/// What the daemon gives the line.
#[derive(Clone, Debug)]
pub struct ForJob {
    /// Without it nothing can be recorded.
    pub lease: Lease,
    /// The release as the daemon knows it: python.org is not asked again.
    pub release: Release,
    /// Directory of all reports.
    pub reports: PathBuf,
}

/// What to do when a tag has moved since it was last recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MovedTag {
    /// Stop the line.
    #[default]
    Refuse,
    /// Go on with the commit that it names now.
    Accept,
}

/// Verifies one release: the whole line, in the foreground.
pub async fn verify(line: &Line, version: &Version, choices: &Choices) -> anyhow::Result<Record> {
    let started = Timestamp::now();
    let scratch = line.scratch()?;
    let Gathered { authentic, era, recipe, environment } =
        gather(line, version, choices, &scratch).await?;
    let limits = &line.config.rebuild.limits;
    let definition = recipe.definition(version, authentic.source(), &environment, limits);
    let (files, release) = (authentic.files().to_vec(), authentic.release().clone());
    let (is_over, over) = oneshot::channel();
    let building = async {
        let (rebuild, work) =
            rebuild(line, &definition, &environment, &authentic, &scratch).await?;
        let (authentic, rebuild, judged) = judge(line, authentic, rebuild, &work).await?;
        let bench = Bench {
            commands: recipe.replay(version),
            definition: &definition,
            rebuild: &rebuild,
            work: &work,
            environment: &environment,
            program: &line.program,
            scratch: &scratch,
        };
        let judged = replayed(line, &bench, &authentic, judged).await?;
        // Nobody listens any more if every witness has answered.
        let _ = is_over.send(());
        anyhow::Ok((authentic, rebuild, judged, work))
    };
    let ((authentic, rebuild, judged, work), testimony) =
        tokio::try_join!(building, testify(line, &release, &files, over))?;
    let record = Record::new(Findings {
        started,
        authentic: &authentic,
        testimony,
        era,
        environment: named(&recipe.environment, environment.digest),
        recipe: named(&recipe.name, recipe.digest),
        definition: &definition,
        rebuild: &rebuild,
        judged: &judged,
    });
    line.store.refuse_unsettled(&record).await?;
    let report = Report {
        record: &record,
        log: &scratch.file("build.log"),
        pairs: &pairs(&authentic, &judged, &work),
    };
    keep(line, &report, choices).await?;
    Ok(record)
}

/// Everything that a rebuild and its judgement begin with.
#[derive(Debug)]
pub struct Gathered {
    /// The published files and the source.
    pub authentic: AuthenticRelease,
    /// How the files were packed.
    pub era: EraFinding,
    /// By which they should come out.
    pub recipe: Recipe,
    /// Where its steps run.
    pub environment: Environment,
}

/// The first rooms: asks what is announced, fetches it and chooses the recipe.
pub async fn gather(
    line: &Line,
    version: &Version,
    choices: &Choices,
    scratch: &Scratch,
) -> anyhow::Result<Gathered> {
    let candidates = line.definitions().candidates(version)?;
    let release = announced(line, version, choices).await?;
    let tools = line.environment(&candidates.first().environment).await?;
    let (authentic, era) = authentic(line, release, &tools, choices, scratch).await?;
    let recipe = candidates.choose(&era).clone();
    let environment = match recipe.environment == candidates.first().environment {
        true => tools,
        false => line.environment(&recipe.environment).await?,
    };
    Ok(Gathered { authentic, era, recipe, environment })
}

/// Puts the record into the store. On behalf of a job its report is there first, so that whatever
/// is published of a record can be served; a report without a record is never looked at.
async fn keep(line: &Line, report: &Report<'_>, choices: &Choices) -> anyhow::Result<()> {
    let Some(job) = &choices.job else {
        line.store.append(report.record).await?;
        let directory = choices.report.as_deref();
        return directory.map_or(Ok(()), |directory| publish::write_report(directory, report));
    };
    let directory = job.reports.join(&report.record.id);
    fault::before("reports")?;
    publish::write_report(&directory, report)?;
    fault::after("reports")?;
    match line.store.settle(&job.lease, report.record).await {
        Ok(Settled::Recorded) => Ok(()),
        // What it said is nobody's business before it is said twice.
        Ok(Settled::Confirm) => std::fs::remove_dir_all(&directory)
            .with_context(|| format!("remove {}", directory.display())),
        Err(error) => {
            // Whether it was recorded is not known here; the next start removes what was not.
            Err(error)
        }
    }
}

impl Line {
    /// Opens what the rooms share.
    pub async fn open(config: Config, progress: Progress) -> anyhow::Result<Line> {
        let store = Store::open(&config.store_path()?).await?;
        let client = Client::new()?;
        Ok(Line { config, client, store, program: Program::this(), progress })
    }

    /// A directory for the work of one run.
    pub fn scratch(&self) -> anyhow::Result<Scratch> {
        let place = self.config.state.directory.join("scratch");
        Scratch::new(&place, "run").with_context(|| format!("make work in {}", place.display()))
    }

    /// Where recipes and environments are read from.
    pub fn definitions(&self) -> Definitions<'_> {
        Definitions::at(&self.config.rebuild.definitions)
    }

    /// The environment `name`, assembled from its lock.
    pub async fn environment(&self, name: &str) -> anyhow::Result<Environment> {
        let made_here = self.lock_path(name);
        let text = match std::fs::read_to_string(&made_here) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.definitions().text(&format!("environments/{name}.lock"))?
            }
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", made_here.display()));
            }
        };
        let lock = Lock::parse(&text).with_context(|| format!("read the lock of {name}"))?;
        let settings = self.config.environment_settings();
        let stage = self.progress.stage(&format!("environment {name}"));
        let show = shown_on(&stage);
        let build = environment::build(&lock, &settings, &self.client, &self.tool(), &show).await?;
        stage.done(&format!("sha256:{}…", &build.digest.to_string()[..12]));
        Ok(build)
    }

    /// Pins the packages of the environment `name` anew; gives the path of the lock.
    pub async fn lock(&self, name: &str, output: Option<PathBuf>) -> anyhow::Result<PathBuf> {
        let text = self.definitions().text(&format!("environments/{name}.toml"))?;
        let spec = EnvironmentSpec::parse(&text)
            .with_context(|| format!("read the environment {name}"))?;
        let settings = self.config.environment_settings();
        let stage = self.progress.stage(&format!("lock {name}"));
        let show = shown_on(&stage);
        let lock = environment::lock(&spec, &settings, &self.client, &self.tool(), &show).await?;
        stage.done(&format!("{} packages of {}", lock.packages.len(), lock.date));
        let path = output.unwrap_or_else(|| self.lock_path(name));
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        publish::write(&path, lock.to_text()?.as_bytes())?;
        Ok(path)
    }

    /// The commits that the repository's release tags name now; git is run in `environment`.
    pub async fn tags(
        &self,
        environment: &Environment,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let settings = self.config.environment_settings();
        source::tags(self.hosting(environment, &settings), &self.scratch()?).await
    }

    fn hosting<'a>(
        &'a self,
        environment: &'a Environment,
        settings: &'a environment::Settings,
    ) -> source::Hosting<'a> {
        source::Hosting {
            repository: &self.config.source.repository,
            environment,
            certificates: settings.pip.bundle.as_deref(),
            program: &self.program,
        }
    }

    /// Whether there is a lock of the environment `name`.
    pub fn has_lock(&self, name: &str) -> bool {
        let locked = || self.definitions().text(&format!("environments/{name}.lock")).is_ok();
        self.lock_path(name).exists() || locked()
    }

    /// Where a lock that was made here is kept; it takes the place of the one in the definitions.
    fn lock_path(&self, name: &str) -> PathBuf {
        let definitions = &self.config.rebuild.definitions;
        if definitions.as_os_str().is_empty() {
            return self.config.state.directory.join("locks").join(format!("{name}.lock"));
        }
        definitions.join("environments").join(format!("{name}.lock"))
    }

    /// The process door, as the environment room takes it.
    fn tool(&self) -> Box<environment::Tool> {
        let program = self.program.clone();
        Box::new(move |order| {
            let program = program.clone();
            Box::pin(async move { program.tool(&order).await })
        })
    }
}

fn shown_on(stage: &Stage) -> impl Fn(environment::Progress) + Sync {
    |progress: environment::Progress| {
        stage.total(progress.total_bytes);
        stage.bytes(progress.done_bytes);
    }
}

async fn announced(line: &Line, version: &Version, choices: &Choices) -> anyhow::Result<Release> {
    if let Some(job) = &choices.job {
        return Ok(job.release.clone());
    }
    let stage = line.progress.stage("ask python.org");
    let wanted = |candidate: &Version| candidate == version;
    let releases = feed::announced(&line.client, &line.config.feed, &wanted).await?;
    let [release] = <[Release; 1]>::try_from(releases).map_err(|releases| {
        let count = releases.len();
        anyhow::anyhow!("python.org announces {count} releases named {version}, not one")
    })?;
    let names: Vec<&str> = release.files.iter().map(|file| file.name.as_str()).collect();
    stage.done(&names.join(", "));
    if !release.ignored.is_empty() {
        line.progress.say(&format!("  not verified: {}", release.ignored.join(", ")));
    }
    Ok(release)
}

async fn authentic(
    line: &Line,
    release: Release,
    environment: &Environment,
    choices: &Choices,
    scratch: &Scratch,
) -> anyhow::Result<(AuthenticRelease, EraFinding)> {
    let version = release.version.clone();
    let tag = version.tag();
    let settings = line.config.environment_settings();
    let from = line.hosting(environment, &settings);
    let wanted = source::Wanted { from, tag: &tag };
    let trust = Trust::load(&line.definitions())?;
    let earlier = line.store.sources_of(&version).await?;
    let last = earlier.last().cloned();
    let (client, progress) = (&line.client, &line.progress);
    let authentic =
        authenticate::authenticate(release, client, wanted, trust, earlier, scratch, progress)
            .await?;
    match choices.moved_tag {
        MovedTag::Refuse => authentic.source().unmoved(last.as_ref())?,
        MovedTag::Accept => {}
    }
    let stage = line.progress.stage("read how it was packed");
    let read = tokio::task::spawn_blocking(move || {
        let era = era::read(&authentic)?;
        anyhow::Ok((authentic, era))
    });
    let (authentic, era) = read.await.context("read the era")??;
    stage.done(&era.to_string());
    Ok((authentic, era))
}

/// Runs the definition, and says as soon as it is known whether the archive before compression is
/// the published one.
async fn rebuild(
    line: &Line,
    definition: &BuildDefinition,
    environment: &Environment,
    authentic: &AuthenticRelease,
    scratch: &Scratch,
) -> anyhow::Result<(Rebuild, PathBuf)> {
    let committed = authentic.source().committed;
    // tar clamps later times only: files made before the commit would keep their own.
    if Timestamp::now() < committed {
        bail!("this machine's clock says it is before {committed}, when the tag was committed");
    }
    let work = scratch.directory("work")?;
    let order = RebuildOrder {
        definition: definition.clone(),
        root: environment.root.clone(),
        source: authentic.repository().to_owned(),
        work: work.clone(),
        log: scratch.file("build.log"),
    };
    let published = PublishedPayload::of(authentic.files());
    let mut stage = Some(line.progress.stage("rebuild"));
    let mut report = |event: Event| match event {
        Event::Started { step } => {
            if let Some(stage) = &stage {
                stage.at(&step);
            }
        }
        Event::Finished { payload, .. } => {
            if let Some(payload) = payload {
                published.announce(&line.progress, payload);
            }
        }
    };
    let run = line.program.rebuild(&order, &mut report);
    let rebuild = line.progress.following(&order.log, run).await.context("rebuild")?;
    if let Some(stage) = stage.take() {
        stage.done(match &rebuild.outcome {
            rebuilder::Outcome::Built(_) => "built",
            rebuilder::Outcome::Failed(_) => "not built",
        });
    }
    // Pair assertion: what was executed is what was ordered.
    assert_eq!(rebuild.definition, definition.digest(), "another definition was executed");
    Ok((rebuild, work))
}

/// Asks others about the published files, beside the rebuild. Witnesses who have not answered when
/// it `is_over` get a few seconds more.
async fn testify(
    line: &Line,
    release: &Release,
    files: &[AuthenticFile],
    is_over: oneshot::Receiver<()>,
) -> anyhow::Result<Vec<Evidence>> {
    let ask = line.config.witnesses.ask;
    let mut witnesses = line.definitions().witnesses()?;
    witnesses.retain(|witness| ask.includes(witness));
    let settings = line.config.environment_settings();
    let stage = line.progress.stage("what others say of the files");
    let inquiry = Inquiry {
        client: &line.client,
        settings: &settings,
        witnesses: &witnesses,
        release,
        files,
    };
    let patience = async {
        // The sender is dropped only with this future.
        let _ = is_over.await;
        tokio::time::sleep(Duration::from_secs(LATE_SECONDS_MAX)).await;
    };
    let evidence = testimony::take(inquiry, patience).await?;
    let count = |outcome| evidence.iter().filter(|one| one.outcome == outcome).count();
    let (agree, disagree) = (count(CheckOutcome::Agrees), count(CheckOutcome::Disagrees));
    stage.done(&format!("{agree} agree, {disagree} disagree, of {} answers", evidence.len()));
    Ok(evidence)
}

/// Comparing is synchronous and takes seconds where bytes differ: not on a thread of the runtime.
async fn judge(
    line: &Line,
    authentic: AuthenticRelease,
    rebuild: Rebuild,
    work: &Path,
) -> anyhow::Result<(AuthenticRelease, Rebuild, Vec<Judged>)> {
    let stage = line.progress.stage("compare");
    let outputs = work.join("out");
    let judged = tokio::task::spawn_blocking(move || {
        let judged = verdict::judge(&authentic, &rebuild, &outputs)?;
        anyhow::Ok((authentic, rebuild, judged))
    });
    let judged = judged.await.context("compare")??;
    stage.done(&format!("{} files", judged.2.len()));
    Ok(judged)
}

/// For a release that was packed by hand: once more, as its manager's machine would have it.
async fn replayed(
    line: &Line,
    bench: &Bench<'_>,
    authentic: &AuthenticRelease,
    judged: Vec<Judged>,
) -> anyhow::Result<Vec<Judged>> {
    if !bench.is_called_for(&judged) {
        return Ok(judged);
    }
    let stage = line.progress.stage("replay order, times and owners");
    let judged = replay::replay(bench, authentic.files(), judged).await?;
    let is_replayed = |judged: &&Judged| matches!(judged.verdict, Verdict::Replayed(_));
    let count = judged.iter().filter(is_replayed).count();
    stage.done(&format!("{count} of {} files identical with them", judged.len()));
    Ok(judged)
}

fn named(name: &str, digest: rebuilder::Digest) -> Named {
    Named { name: name.to_owned(), digest: record::sha256(digest) }
}

fn pairs<'a>(authentic: &'a AuthenticRelease, judged: &'a [Judged], work: &Path) -> Vec<Pair<'a>> {
    let outputs = work.join("out");
    let pair = |(file, judged): (&'a AuthenticFile, &'a Judged)| Pair {
        name: &judged.name,
        published: &file.path,
        rebuilt: judged.rebuilt.map(|_| outputs.join(&judged.name)),
        comparison: match &judged.verdict {
            Verdict::Different(comparison) | Verdict::Replayed(comparison) => Some(comparison),
            Verdict::Reproduced | Verdict::NotBuilt(_) => None,
        },
    };
    authentic.files().iter().zip(judged).map(pair).collect()
}
