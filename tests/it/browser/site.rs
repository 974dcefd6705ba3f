//! Somebody's web site: a few pages with the loader snippet, on an origin of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The loader as it stands on thousands of pages, unchanged but for the address.
const LOADER: &str = "(function(w,d,t,u,n,a,m){w['MauticTrackingObject']=n;w[n]=w[n]||function(){(w[n].q=w[n].q||[]).push(arguments)},a=d.createElement(t),m=d.getElementsByTagName(t)[0];a.async=1;a.src=u;m.parentNode.insertBefore(a,m)})(window,document,'script','SCRIPT','mt');";

/// What every page keeps for the test: callbacks and DOM events in the order in which they came.
const TOLD: &str = "window.told=[];
function way(d){return d.image?'image':'POST'}
function tell(name){return{onload:function(d){told.push(name+' onload '+way(d))},onerror:function(){told.push(name+' onerror')}}}
document.addEventListener('mauticPageEventDelivered',function(e){told.push('event '+way(e.detail))});";

/// The running site; it ends with the test's runtime.
#[derive(Clone)]
pub struct Site {
    address: SocketAddr,
    pages: Arc<Mutex<HashMap<String, String>>>,
}

impl Site {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Self {
            address: listener.local_addr().unwrap(),
            pages: Arc::default(),
        };
        let served = site.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().answer(stream));
            }
        });
        site
    }

    /// `http://127.0.0.1:<port>`: the same site as a server on 127.0.0.1, but another origin.
    pub fn near(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://localhost:<port>`: another site, whose pages get none of the server's cookies.
    pub fn far(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Puts a page up. The head holds the loader as often as `loaders` says, then `calls`.
    pub fn page(&self, path: &str, server: &str, loaders: usize, calls: &str, body: &str) {
        let loader = LOADER.replace("SCRIPT", &format!("{server}/mtc.js"));
        let loaders = format!("<script>{loader}{calls}</script>").repeat(loaders);
        let page = format!(
            "<!doctype html><html lang=\"de\"><head><meta charset=\"utf-8\"><title>Die Lampe \u{2013} f\u{fc}r 49,90 \u{20ac}</title>\
             <link rel=\"icon\" \
             href=\"data:,\"><script>{TOLD}</script>{loaders}</head><body>{body}</body></html>"
        );
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Puts a file up as it is, such as somebody's script.
    pub fn file(&self, path: &str, content: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages.insert(path.to_owned(), content.to_owned());
    }

    async fn answer(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line).await.is_err() {
            return;
        }
        let path = line.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {}
        let page = self.pages.lock().unwrap().get(&path).cloned();
        let (status, page) = page.map_or(("404 Not Found", String::new()), |page| ("200 OK", page));
        let kind = if path.ends_with(".js") {
            "text/javascript"
        } else {
            "text/html"
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: \
            {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        let _ = stream.get_mut().write_all((head + &page).as_bytes()).await;
    }
}
