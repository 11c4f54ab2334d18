//! Entry point.

use std::io::Write;

use operator::args::{Cli, Command};
use operator::crd;

/// Short-lived objects of many sizes, made in one thread and freed in another (ADR 16).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    match Cli::read().command {
        Command::Crd(args) => {
            if let Some(dir) = args.dir {
                crd::write(&dir)?;
            } else {
                let text = if args.chart { crd::chart()? } else { crd::yaml()? };
                std::io::stdout().write_all(text.as_bytes())?;
            }
        }
        Command::Reference => {
            let reference = operator::reference::reference(&crd::definitions());
            std::io::stdout().write_all(reference.as_bytes())?;
        }
        Command::Run(args) => {
            admin::init_tracing()?;
            tokio::runtime::Runtime::new()?.block_on(operator::run(*args))?;
        }
        Command::ReleaseRouters => {
            admin::init_tracing()?;
            tokio::runtime::Runtime::new()?.block_on(operator::release_routers())?;
        }
    }
    Ok(())
}
