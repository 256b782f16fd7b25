//! `sept man` and `sept completions`, made from the table of options.

use std::io;

use clap_complete::Shell;
use lexopt::Parser;

use crate::failure::Failure;
use crate::options::{self, Id, Page};
use crate::report;
use crate::words::{self, Word};

/// All of sept as clap has it.
fn whole() -> clap::Command {
    let mut command = clap::Command::new("sept")
        .about("Isolates processes with Linux namespaces")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true);
    for page in options::PAGES {
        command = command.subcommand(options::clap_command(page));
    }
    command
}

/// The words after the command; nothing if help was printed.
fn words(parser: &mut Parser, page: &'static Page) -> Result<Option<Vec<String>>, Failure> {
    let mut words = Vec::new();
    while let Some(word) = words::next(parser, page)? {
        match word {
            Word::Plain(word) => words.push(word.to_string_lossy().into_owned()),
            Word::Option { opt, .. } if opt.id == Id::Help => {
                return report::print(&options::help(page)).map(|()| None);
            }
            Word::Option { .. } => {}
        }
    }
    Ok(Some(words))
}

pub fn completions(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(words) = words(parser, &options::COMPLETIONS)? else { return Ok(0) };
    let [shell] = words.as_slice() else {
        return Err(Failure::usage("completions needs the name of a shell").fix("bash, zsh, fish or elvish"));
    };
    let shell: Shell = shell.parse().map_err(|_| {
        Failure::usage(format!("there are no completions for {shell}")).fix("bash, zsh, fish or elvish")
    })?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole(), "sept", &mut text);
    report::print(&String::from_utf8_lossy(&text)).map(|()| 0)
}

pub fn man(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(words) = words(parser, &options::MAN)? else { return Ok(0) };
    let page = match words.as_slice() {
        [] => None,
        [word] if word == "sept" => None,
        [word] => {
            let word = word.strip_prefix("sept-").unwrap_or(word);
            let page = options::PAGES.into_iter().find(|page| page.name == word);
            Some(page.ok_or_else(|| {
                let names: Vec<_> = options::PAGES.iter().map(|page| page.name).collect();
                Failure::usage(format!("there is no page for {word}"))
                    .fix(format!("there are: {}", names.join(", ")))
            })?)
        }
        _ => return Err(Failure::usage("man takes one command").fix("write: sept man run")),
    };
    let text = match page {
        Some(page) => page_text(page),
        None => main_text(),
    };
    let text = text.map_err(|error| Failure::io("cannot make the page", &error))?;
    report::print(&text).map(|()| 0)
}

fn page_text(page: &'static Page) -> io::Result<String> {
    let name = format!("sept-{}", page.name);
    let command = options::clap_command(page).after_help("").display_name(&name).bin_name(&name);
    let man = clap_mangen::Man::new(command).title(name).section("1").source("sept").manual("sept manual");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    text.extend(section("SYNOPSIS", &[format!("sept {} {}", page.name, page.usage)]));
    text.extend(section("DESCRIPTION", &[page.about.to_owned(), page.notes.to_owned()]));
    man.render_options_section(&mut text)?;
    if !page.examples.is_empty() {
        text.extend(b".SH EXAMPLES\n");
        for (line, what) in page.examples {
            text.extend(format!(".TP\n{}\n{}\n", roff(line), roff(what)).into_bytes());
        }
    }
    text.extend(exit_section(page));
    text.extend(section("SEE ALSO", &[see_also(Some(page))]));
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn exit_section(page: &Page) -> Vec<u8> {
    let own = "COMMAND's own; 128+n when signal n ended it, but for a Ctrl-C that was typed, of which sept dies itself; 125 sept itself failed; 126 COMMAND cannot be executed; 127 \
               COMMAND not found.";
    match page.name {
        "run" => section("EXIT STATUS", &[own.to_owned(), "124 the time of --timeout ran out.".to_owned()]),
        "unshare" | "enter" => section("EXIT STATUS", &[own.to_owned()]),
        "diff" | "doctor" => Vec::new(),
        _ => section("EXIT STATUS", &["0 if it was done, 125 if not.".to_owned()]),
    }
}

fn main_text() -> io::Result<String> {
    let man = clap_mangen::Man::new(whole()).section("1").source("sept").manual("sept manual");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    text.extend(section("SYNOPSIS", &["sept COMMAND [OPTIONS]".to_owned()]));
    let about = "sept starts processes in new namespaces (clone), moves to new ones (unshare), joins those that exist (setns), \
                 and shows what is there. Each command has a page of its own.";
    text.extend(section("DESCRIPTION", &[about.to_owned()]));
    text.extend(b".SH COMMANDS\n");
    for page in options::PAGES {
        text.extend(format!(".TP\n\\fBsept\\-{}\\fR(1)\n{}\n", page.name, roff(page.about)).into_bytes());
    }
    let files = "/run/sept for root, $XDG_RUNTIME_DIR/sept for others: what sept pin keeps.";
    text.extend(section("FILES", &[files.to_owned()]));
    text.extend(section("SEE ALSO", &[see_also(None)]));
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn see_also(page: Option<&Page>) -> String {
    let mut names: Vec<String> = Vec::new();
    if page.is_some() {
        names.push("sept(1)".to_owned());
    }
    let others = options::PAGES.into_iter().filter(|other| page.is_none_or(|page| page.name != other.name));
    names.extend(others.map(|other| format!("sept-{}(1)", other.name)));
    names.extend(
        ["namespaces(7)", "user_namespaces(7)", "unshare(1)", "nsenter(1)", "lsns(8)"].map(str::to_owned),
    );
    names.join(", ")
}

fn section(title: &str, paragraphs: &[String]) -> Vec<u8> {
    let mut text = format!(".SH {}\n", roff(title));
    let paragraphs = paragraphs.iter().flat_map(|text| text.split("\n\n")).filter(|text| !text.is_empty());
    for (n, paragraph) in paragraphs.enumerate() {
        text.push_str(if n == 0 { "" } else { ".PP\n" });
        text.push_str(&roff(&paragraph.replace('\n', " ")));
        text.push('\n');
    }
    text.into_bytes()
}

/// Text for roff: hyphens that are to be copied, no accidental requests.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
