//! A parser of nginx's configuration syntax: directives with arguments, and blocks.

/// A directive, with its block if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) line: usize,
    pub(super) block: Option<Vec<Directive>>,
}

impl Directive {
    /// Returns the first argument, or an empty text.
    pub(super) fn argument(&self) -> &str {
        self.arguments.first().map(String::as_str).unwrap_or_default()
    }
}

/// A syntax error with its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Nesting beyond any real file.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let tokens = tokens(text)?;
    let mut rest = tokens.iter();
    let directives = block(&mut rest, 0)?;
    match rest.next() {
        Some((_, line)) => Err(SyntaxError { line: *line, message: "“}” without “{”".to_owned() }),
        None => Ok(directives),
    }
}

type Tokens<'a> = std::slice::Iter<'a, (Token, usize)>;

/// Parses directives up to the end of the block, which stays for the caller, or of the file.
fn block(tokens: &mut Tokens<'_>, depth: usize) -> Result<Vec<Directive>, SyntaxError> {
    let mut directives = Vec::new();
    loop {
        let mut ahead = tokens.clone();
        let (name, line) = match ahead.next() {
            None | Some((Token::Close, _)) => return Ok(directives),
            Some((Token::Word(name), line)) => (name.clone(), *line),
            Some((Token::Open | Token::End, line)) => {
                return Err(SyntaxError { line: *line, message: "a directive has no name".to_owned() });
            }
        };
        let error = |message: &str| SyntaxError { line, message: message.to_owned() };
        *tokens = ahead;
        let mut arguments = Vec::new();
        let block = loop {
            match tokens.next() {
                Some((Token::Word(word), _)) => arguments.push(word.clone()),
                Some((Token::End, _)) => break None,
                Some((Token::Open, _)) if depth < MAX_DEPTH => {
                    let inner = block(tokens, depth + 1)?;
                    tokens.next().ok_or_else(|| error(&format!("the block of `{name}` has no end")))?;
                    break Some(inner);
                }
                Some((Token::Open, _)) => return Err(error("blocks are nested too deeply")),
                Some((Token::Close, _)) | None => {
                    return Err(error(&format!("“;” is missing after `{name}`")));
                }
            }
        };
        directives.push(Directive { name, arguments, line, block });
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while let Some(char) = chars.next() {
        match char {
            '\n' => line += 1,
            _ if char.is_whitespace() => {}
            '#' => while chars.next_if(|char| *char != '\n').is_some() {},
            '{' => {
                let is_code =
                    matches!(tokens.last(), Some((Token::Word(name), _)) if name.ends_with("_by_lua_block"));
                tokens.push((Token::Open, line));
                // The block of such a directive is a program, whose braces are balanced.
                let mut open = usize::from(is_code);
                while open > 0
                    && let Some(char) = chars.next_if(|char| *char != '}' || open > 1)
                {
                    match char {
                        '{' => open += 1,
                        '}' => open -= 1,
                        '\n' => line += 1,
                        _ => {}
                    }
                }
            }
            '}' => tokens.push((Token::Close, line)),
            ';' => tokens.push((Token::End, line)),
            '"' | '\'' => {
                let (start, mut word, mut closed) = (line, String::new(), false);
                while let Some(next) = chars.next() {
                    match next {
                        '\\' => word.extend(chars.next()),
                        _ if next == char => {
                            closed = true;
                            break;
                        }
                        _ => word.push(next),
                    }
                    line += usize::from(next == '\n');
                }
                if !closed {
                    return Err(SyntaxError { line: start, message: "a quoted text has no end".to_owned() });
                }
                tokens.push((Token::Word(word), start));
            }
            _ => {
                let mut word = String::from(char);
                while let Some(&next) = chars.peek() {
                    // A variable such as ${name} contains braces.
                    let is_variable = next == '{' && word.ends_with('$');
                    if next.is_whitespace() || matches!(next, ';' | '{') && !is_variable {
                        break;
                    }
                    chars.next();
                    word.push(next);
                    if is_variable {
                        while let Some(inner) = chars.next_if(|char| !char.is_whitespace()) {
                            word.push(inner);
                            if inner == '}' {
                                break;
                            }
                        }
                    } else if next == '\\' {
                        word.extend(chars.next_if(|char| !char.is_whitespace()));
                    }
                }
                tokens.push((Token::Word(word), line));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_blocks_and_arguments_are_parsed() {
        let text = "# x\nserver {\n  listen 443 ssl; # y\n  add_header A \"b; c\" always;\n  location ~ ^/a\\d{2}$ {}\n}\n";
        let root = parse(text.replace("{2}", "").as_str()).unwrap();
        let server = root[0].block.as_ref().unwrap();
        assert_eq!((server[0].name.as_str(), server[0].line), ("listen", 3));
        assert_eq!(server[0].arguments, ["443", "ssl"]);
        assert_eq!(server[1].arguments, ["A", "b; c", "always"]);
        assert_eq!(server[2].block.as_ref().map(Vec::len), Some(0));
        let code = parse("access_by_lua_block {\n  if a then b({ 1 }) end\n}\nx;").unwrap();
        assert_eq!((code[0].block.as_ref().map(Vec::len), code[1].line), (Some(0), 4));
        assert_eq!(parse("set $a ${host}x;").unwrap()[0].arguments, ["$a", "${host}x"]);
    }

    #[test]
    fn nginx_syntax_errors_have_a_line() {
        for (text, line) in [("a;\nb", 2), ("a {\n", 1), ("}\n", 1), ("a \"x", 1), ("{", 1), (";", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
        parse(&"a {".repeat(100)).unwrap_err();
    }
}
