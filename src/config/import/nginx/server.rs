//! The `server` blocks of an nginx file, with the values that their locations inherit.

use super::syntax::Directive;

/// A `server` block with the directives of `http` around it.
pub(super) struct Server<'a> {
    pub(super) line: usize,
    outer: &'a [Directive],
    block: &'a [Directive],
}

/// An address of a server.
pub(super) struct Listen<'a> {
    pub(super) directive: &'a Directive,
    /// Empty for every IPv4 address.
    pub(super) address: &'a str,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// A location that forwards requests, or the server itself, with the blocks around it from the outside in.
pub(super) struct Scope<'a> {
    directive: Option<&'a Directive>,
    blocks: Vec<&'a [Directive]>,
    line: usize,
}

/// Finds the servers of a file. It may be a whole `nginx.conf`, or a file of `conf.d`.
pub(super) fn find(root: &[Directive]) -> Vec<Server<'_>> {
    let mut servers = Vec::new();
    let http = root.iter().filter(|directive| directive.name == "http");
    let outer = http.filter_map(|http| http.block.as_deref()).chain([root]);
    for outer in outer {
        for server in outer.iter().filter(|directive| directive.name == "server") {
            if let Some(block) = server.block.as_deref() {
                servers.push(Server { line: server.line, outer, block });
            }
        }
    }
    servers
}

/// All directives of a block and the blocks in it.
fn flatten(block: &[Directive]) -> Vec<&Directive> {
    let inner = |directive: &Directive| directive.block.is_some();
    let mut all: Vec<&Directive> = block.iter().collect();
    for directive in block.iter().filter(|directive| inner(directive)) {
        all.extend(flatten(directive.block.as_deref().unwrap_or_default()));
    }
    all
}

impl<'a> Server<'a> {
    /// All directives in it, at any depth.
    pub(super) fn all(&self) -> Vec<&'a Directive> {
        flatten(self.block)
    }

    /// The directives of `http` that apply to it.
    pub(super) fn inherited(&self) -> impl Iterator<Item = &'a Directive> {
        self.outer.iter().filter(|directive| directive.block.is_none())
    }

    pub(super) fn is_proxy(&self) -> bool {
        self.all().iter().any(|directive| directive.name == "proxy_pass")
    }

    pub(super) fn redirects_to_https(&self) -> bool {
        let to_https =
            |directive: &&&Directive| directive.arguments.iter().any(|word| word.starts_with("https://"));
        self.all()
            .iter()
            .filter(|directive| ["return", "rewrite"].contains(&&*directive.name))
            .any(|d| to_https(&d))
    }

    /// A directive of the server itself.
    pub(super) fn own(&self, name: &str) -> Option<&'a Directive> {
        self.block.iter().find(|directive| directive.name == name)
    }

    /// The directives of the server itself, or else of `http`.
    pub(super) fn effective(&self, name: &str) -> Vec<&'a Directive> {
        let of = |block: &'a [Directive]| -> Vec<&'a Directive> {
            block.iter().filter(|directive| directive.name == name).collect()
        };
        let own = of(self.block);
        if own.is_empty() { of(self.outer) } else { own }
    }

    /// The directives of the server, its locations and, if these have none, of `http`.
    pub(super) fn everywhere(&self, name: &str) -> Vec<&'a Directive> {
        let own: Vec<&Directive> =
            self.all().into_iter().filter(|directive| directive.name == name).collect();
        if own.is_empty() { self.effective(name) } else { own }
    }

    pub(super) fn has_tls(&self) -> bool {
        let is_on = |directive: &&Directive| directive.argument() == "on";
        self.listens().iter().any(|listen| listen.tls) || self.effective("ssl").iter().any(is_on)
    }

    /// The addresses. Unix sockets and ports that are no numbers are left out.
    pub(super) fn listens(&self) -> Vec<Listen<'a>> {
        let ssl_on = self.effective("ssl").iter().any(|directive| directive.argument() == "on");
        let listens = self.block.iter().filter(|directive| directive.name == "listen");
        listens
            .filter_map(|directive| {
                let given = directive.argument();
                let (address, port) = match given.rsplit_once(':') {
                    Some((address, port)) if !port.ends_with(']') => (address, port),
                    _ if given.bytes().all(|byte| byte.is_ascii_digit()) => ("", given),
                    _ => (given, "80"),
                };
                let address = if address == "*" { "" } else { address };
                let tls = ssl_on || directive.arguments.iter().any(|word| word == "ssl");
                Some(Listen { directive, address, port: port.parse().ok()?, tls })
            })
            .collect()
    }

    /// The scopes that forward requests.
    pub(super) fn proxy_scopes(&self) -> impl Iterator<Item = Scope<'a>> {
        let mut scopes = Vec::new();
        let whole = Scope { directive: None, blocks: vec![self.outer, self.block], line: self.line };
        collect(&whole, &mut scopes);
        scopes.into_iter()
    }
}

fn collect<'a>(scope: &Scope<'a>, scopes: &mut Vec<Scope<'a>>) {
    let block = scope.blocks.last().copied().unwrap_or_default();
    if block.iter().any(|directive| directive.name == "proxy_pass") {
        scopes.push(Scope { directive: scope.directive, blocks: scope.blocks.clone(), line: scope.line });
    }
    for location in block.iter().filter(|directive| directive.name == "location") {
        let mut blocks = scope.blocks.clone();
        blocks.extend(location.block.as_deref());
        collect(&Scope { directive: Some(location), blocks, line: location.line }, scopes);
    }
}

impl<'a> Scope<'a> {
    /// The first argument of a directive in the innermost block that has it.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        let of = |block: &&'a [Directive]| block.iter().rfind(|directive| directive.name == name);
        self.blocks.iter().rev().find_map(of).map(Directive::argument)
    }

    pub(super) fn has_accounts(&self) -> bool {
        self.value("auth_basic").is_some_and(|realm| realm != "off")
            && self.value("auth_basic_user_file").is_some()
    }

    /// Whether it answers pings alone, which have no images.
    pub(super) fn is_ping(&self) -> bool {
        self.path().trim_end_matches('$').ends_with("_ping")
    }

    /// The pattern of the location.
    pub(super) fn path(&self) -> String {
        self.directive.map(|location| location.arguments.join(" ")).unwrap_or_default()
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }
}
