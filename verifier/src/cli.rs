//! The command line. One `match` shows every command.
//!
//! The one module that reads arguments. Results go to standard output; progress, logs and errors
//! to standard error, an error as one sentence.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::authenticate_command::{self, AuthenticateArgs};
use crate::compare_command::{self, CompareArgs};
use crate::config::Config;
use crate::daemon::Reload;
use crate::definitions::Definitions;
use crate::diagnose::{self, DiagnoseArgs};
use crate::http::without_secrets;
use crate::line::{self, Choices, Line, MovedTag};
use crate::logging::{self, Level, LogFormat};
use crate::operate;
use crate::progress::Progress;
use crate::record::{Record, RecordStatus};
use crate::request_command::{self, RequestArgs};
use crate::store::Scope;
use crate::store_command::{self, StoreCommand};
use crate::version::Version;
use crate::{demo, environment, explain, publish};

/// Exit status of operating trouble: nothing was judged.
const TROUBLE: u8 = 2;

/// Rebuilds CPython source releases from their tags and says whether the published bytes come out.
#[derive(Parser)]
#[command(name = "verbatim", version)]
struct Arguments {
    /// Configuration file [default: verbatim.toml here, then /etc/verbatim/verbatim.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for everything that lasts
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Say more; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Form of the log on standard error
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole job on a genuine release, with python.org stood in for on loopback
    Demo {
        /// Verify it once and exit, instead of serving the dashboard until Ctrl-C
        #[arg(long)]
        once: bool,
    },
    /// Verify releases now, in the foreground: exit 0 pass, 1 different, 3 not built, 2 trouble
    Verify(VerifyArgs),
    /// Compare two files or directories: exit 0 identical, 1 different, 2 trouble
    Compare(CompareArgs),
    /// Show where every byte of a release's published archives comes from: the tag, a step of the
    /// recipe, or nobody; exit 0 all accounted for, 1 something unexplained, 2 trouble
    Explain {
        version: Version,
        /// Print the map as JSON
        #[arg(long)]
        json: bool,
    },
    /// Find out which known variation of the recipe gives the published bytes where a rebuild does
    /// not match: exit 0 explained or nothing to explain, 1 not explained, 2 trouble
    Diagnose(DiagnoseArgs),
    /// Say offline who signed a file and whether they should have: exit 0 authentic, 1 not,
    /// 2 cannot tell
    Authenticate(AuthenticateArgs),
    /// Watch python.org, verify what it announces and serve the API, until SIGTERM
    Serve {
        /// Look once, work off what is due and exit (for cron); nothing is served
        #[arg(long)]
        once: bool,
    },
    /// Write pages, badges, JSON, feeds and reports as files, the same bytes that `serve` sends;
    /// only what changed is written
    Export { directory: PathBuf },
    /// Ask a running daemon to verify a release, and follow it; Ctrl-C stops only the following.
    /// The token is read from request.token_file or VERBATIM_REQUEST__TOKEN; exit as verify
    Request(RequestArgs),
    /// The bearer tokens that allow requests
    #[command(subcommand)]
    Token(TokenCommand),
    /// The open alarms
    #[command(subcommand)]
    Alarm(AlarmCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The store of records: back it up, restore it
    #[command(subcommand)]
    Store(StoreCommand),
    /// The pinned environments that steps run in
    #[command(subcommand)]
    Environment(EnvironmentCommand),
    /// Run one definition in the container (started by verbatim itself)
    #[command(hide = true)]
    Rebuild,
    /// Run one tool in the container (started by verbatim itself)
    #[command(hide = true)]
    Tool,
}

#[derive(Args)]
struct VerifyArgs {
    /// Versions as python.org writes them: 3.13.5
    #[arg(required = true)]
    versions: Vec<Version>,
    /// Print the record as JSON (an array for several versions) and nothing else
    #[arg(long)]
    json: bool,
    /// Write record.json, build.log and member lists here (below it by version, for several)
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Go on although a tag names another commit than when it was last recorded
    #[arg(long)]
    accept_moved_tag: bool,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it, this once; the store keeps its SHA-256 only
    Add {
        /// Whose it is
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "request")]
        scope: TokenScope,
    },
    /// List the tokens
    List,
    /// Make a token worthless
    Revoke { id: String },
}

#[derive(Clone, Copy, ValueEnum)]
enum TokenScope {
    /// To ask for rebuilds
    Request,
    /// To clear alarms and cancel jobs, too
    Operate,
}

#[derive(Subcommand)]
enum AlarmCommand {
    /// List the open alarms
    List,
    /// Say that somebody has looked at one
    Clear { id: i64 },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read the configuration and say what is wrong with it
    Check,
}

#[derive(Subcommand)]
enum EnvironmentCommand {
    /// Resolve the environment's packages against the archive's signed index and pin them
    Lock {
        name: String,
        /// Where to write the lock [default: the definitions directory, else the state directory]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Assemble the root file system and print its digest and place
    Build { name: String },
    /// Write the environment as an OCI image layout
    Export {
        name: String,
        /// A directory that is not there yet
        directory: PathBuf,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    // Before any thread exists: the container is entered from a process with only one.
    match arguments.command {
        Command::Rebuild => return status(rebuilder::rebuild_main()),
        Command::Tool => return status(rebuilder::tool_main()),
        Command::Compare(args) => return status(compare_command::run(&args)),
        Command::Demo { .. }
        | Command::Verify(_)
        | Command::Explain { .. }
        | Command::Diagnose(_)
        | Command::Authenticate(_)
        | Command::Serve { .. }
        | Command::Export { .. }
        | Command::Request(_)
        | Command::Token(_)
        | Command::Alarm(_)
        | Command::Config(_)
        | Command::Store(_)
        | Command::Environment(_) => {}
    }
    logging::start(Level::of(arguments.verbose, Level::default()), arguments.log_format);
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    // A closed standard error or output is no reason to panic.
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // It repeats the argument, which a script may have taken from anywhere.
    let mut text = error.render().to_string();
    text.retain(|c| !c.is_control() || c == '\n');
    let _ = write!(std::io::stderr(), "{text}");
    ExitCode::from(TROUBLE)
}

fn status(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(TROUBLE))
}

fn complain(error: &anyhow::Error) {
    let mut sentence = without_secrets(&format!("{error:#}")).into_owned();
    sentence.retain(|c| !c.is_control() || c == ' ');
    let _ = writeln!(std::io::stderr(), "verbatim: {sentence}");
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let state = match arguments.command {
        // It keeps nothing: an account without a home can ask, too.
        Command::Authenticate(_) | Command::Request(_) => Some(Path::new(".")),
        _ => arguments.state.as_deref(),
    };
    let load = {
        let (file, state) = (arguments.config.clone(), state.map(Path::to_owned));
        move || Config::load(file.as_deref(), state.as_deref())
    };
    let config = load()?;
    logging::set_level(Level::of(arguments.verbose, config.log.level));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Demo { once } => show(config, once).await,
            Command::Verify(args) => unless_interrupted(verify(config, args)).await,
            Command::Explain { version, json } => {
                unless_interrupted(explain(config, &version, json)).await
            }
            Command::Diagnose(args) => unless_interrupted(diagnose::run(config, &args)).await,
            Command::Environment(command) => unless_interrupted(environment(config, command)).await,
            Command::Authenticate(args) => authenticate(&config, &args),
            Command::Export { directory } => {
                unless_interrupted(operate::export(config, &directory)).await
            }
            Command::Serve { once: true } => operate::serve_once(config, interrupted()).await,
            Command::Serve { once: false } => {
                let reload = Reload { load: Box::new(load), verbose: arguments.verbose };
                operate::serve(config, reload, interrupted()).await
            }
            Command::Request(args) => request_command::run(&config, &args, interrupted()).await,
            Command::Token(command) => token(config, command).await,
            Command::Alarm(command) => alarm(config, command).await,
            Command::Config(ConfigCommand::Check) => operate::check(&config),
            Command::Store(command) => store_command::run(&config, &command).await,
            Command::Compare(_) | Command::Rebuild | Command::Tool => {
                unreachable!("these commands run without a runtime")
            }
        }
    });
    runtime.shutdown_background();
    result
}

/// Does the work, but drops it, and with it its containers, when somebody wants the program to end.
async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        result = work => result,
        signal = interrupted() => Err(anyhow::anyhow!("stopped by {signal}; nothing is judged")),
    }
}

/// Ends when somebody wants the program to end.
async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        _ = terminate.recv() => "SIGTERM",
    }
}

async fn show(config: Config, once: bool) -> anyhow::Result<ExitCode> {
    let progress = Progress::to_stderr();
    if !once {
        let record = demo::dashboard(config, progress, interrupted()).await?;
        return Ok(ExitCode::from(exit_status(&record)));
    }
    let record = unless_interrupted(demo::once(config, progress)).await?;
    print(&publish::text(&record))?;
    Ok(ExitCode::from(exit_status(&record)))
}

async fn verify(config: Config, args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let line = Line::open(config, Progress::to_stderr()).await?;
    let several = args.versions.len() > 1;
    let moved_tag = if args.accept_moved_tag { MovedTag::Accept } else { MovedTag::Refuse };
    let mut records = Vec::new();
    let mut trouble = false;
    for version in &args.versions {
        let below = |directory: &PathBuf| directory.join(version.to_string());
        let report = if several { args.report.as_ref().map(below) } else { args.report.clone() };
        match line::verify(&line, version, &Choices { report, moved_tag, job: None }).await {
            Ok(record) => {
                if !args.json {
                    print(&publish::text(&record))?;
                }
                records.push(record);
            }
            Err(error) => {
                trouble = true;
                complain(&error.context(format!("verify {version}")));
            }
        }
    }
    line.store.close().await;
    if args.json && !records.is_empty() {
        let json = match records.as_slice() {
            [record] if !several => serde_json::to_string_pretty(record),
            records => serde_json::to_string_pretty(records),
        };
        print(&(json.context("write the record")? + "\n"))?;
    }
    let any = |code| records.iter().any(|record| exit_status(record) == code);
    let worst = [1, 3].into_iter().find(|code| any(*code)).unwrap_or(0);
    Ok(ExitCode::from(if trouble { TROUBLE } else { worst }))
}

/// From the newest record; without one, the release is verified first.
async fn explain(config: Config, version: &Version, json: bool) -> anyhow::Result<ExitCode> {
    let line = Line::open(config, Progress::to_stderr()).await?;
    let record = match line.store.of_version(version).await?.pop() {
        Some(record) => record,
        None => {
            line.progress.say(&format!("  there is no record of {version} yet: verifying it"));
            line::verify(&line, version, &Choices::default()).await?
        }
    };
    line.store.close().await;
    if json {
        let maps = explain::maps(&record);
        print(&(serde_json::to_string_pretty(&maps).context("write the map")? + "\n"))?;
    } else {
        print(&explain::text(&record))?;
    }
    Ok(ExitCode::from(explain::exit_status(&record)))
}

fn authenticate(config: &Config, args: &AuthenticateArgs) -> anyhow::Result<ExitCode> {
    let definitions = Definitions::at(&config.rebuild.definitions);
    let answer = authenticate_command::authenticate(args, &definitions)?;
    if args.json {
        print(&(serde_json::to_string_pretty(&answer).context("write the answer")? + "\n"))?;
    } else {
        print(&answer.text())?;
    }
    Ok(ExitCode::from(answer.exit_status()))
}

/// What a record comes to, for scripts.
pub(crate) fn exit_status(record: &Record) -> u8 {
    match record.status {
        RecordStatus::Pass => 0,
        RecordStatus::Fail => 1,
        RecordStatus::NotBuilt => 3,
    }
}

async fn environment(config: Config, command: EnvironmentCommand) -> anyhow::Result<ExitCode> {
    let line = Line::open(config, Progress::to_stderr()).await?;
    match command {
        EnvironmentCommand::Lock { name, output } => {
            let path = line.lock(&name, output).await?;
            print(&format!("{}\n", path.display()))?;
        }
        EnvironmentCommand::Build { name } => {
            let environment = line.environment(&name).await?;
            print(&format!("sha256:{}  {}\n", environment.digest, environment.root.display()))?;
        }
        EnvironmentCommand::Export { name, directory } => {
            let environment = line.environment(&name).await?;
            let digest = environment::export(&environment, &directory)
                .with_context(|| format!("export {name} to {}", directory.display()))?;
            print(&format!("sha256:{digest}  {}\n", directory.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn token(config: Config, command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Add { name, scope } => {
            let scope = match scope {
                TokenScope::Request => Scope::Request,
                TokenScope::Operate => Scope::Operate,
            };
            operate::add_token(&config, &name, scope).await
        }
        TokenCommand::List => operate::list_tokens(&config).await,
        TokenCommand::Revoke { id } => operate::revoke_token(&config, &id).await,
    }
}

async fn alarm(config: Config, command: AlarmCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlarmCommand::List => operate::list_alarms(&config).await,
        AlarmCommand::Clear { id } => operate::clear_alarm(&config, id).await,
    }
}

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("print the result")
}
