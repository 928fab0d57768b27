package beacon_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// wire serves a site on a real socket, for requests that no client would send.
func wire(t *testing.T, s *site) string {
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// say sends bytes as they are and returns the answers that come back until the
// server closes the connection, which it must.
func say(t *testing.T, addr, request string) (answers []*http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, nil)
		if isTimeout(err) {
			t.Fatalf("after %d answers the connection stays open", len(answers))
		}
		if err != nil {
			return answers
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("answer %d: %v", len(answers), err)
		}
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		answers = append(answers, resp)
	}
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// Classes 1 to 5: names that climb, that Windows takes for something else, that
// look like others, that speak to shells, and tricks with extensions. What is
// refused is refused before anything is stored; what is legal is stored under
// exactly its name.
func TestNames(t *testing.T) {
	long := strings.Repeat("n", 196)
	for _, tt := range []struct {
		target string // below /ManageSoftRL/
		status int
	}{
		// climbing
		{"Inventories/../x.ndi", 400}, {"../x.ndi", 400}, {"../../etc/passwd.ndi", 400}, {"Inventories/..%2Fx.ndi", 400},
		{"Inventories/%2e%2e/x.ndi", 400}, {"Inventories/%2e%2e%2fx.ndi", 400}, {"Inventories/..%5Cx.ndi", 400},
		{`Inventories/..\x.ndi`, 400}, {`..\x.ndi`, 400}, {"Inventories/%252e%252e%252fx.ndi", 400}, {"Inventories/%c0%ae%c0%ae%c0%afx.ndi", 400},
		{"Inventories/%u002e%u002e/x.ndi", 400}, {"Inventories/....//x.ndi", 400}, {"Inventories/..;/x.ndi", 400},
		{"Inventories//etc/passwd.ndi", 400}, {"/etc/passwd.ndi", 400}, {"%2Fetc%2Fpasswd.ndi", 400}, {"Inventories/C:%5Cx.ndi", 400}, {"Inventories/C:x.ndi", 400},
		{"%5C%5Chost%5Cshare%5Cx.ndi", 400}, {"%5C%5C%3F%5CC:%5Cx.ndi", 400}, {"%5C%3F%3F%5Cx.ndi", 400}, {"Inventories/./x.ndi", 400},
		{"Inventories/a/x.ndi", 400}, {"Inventories/x.ndi/", 400}, {"Inventories/", 400}, {"..", 400}, {"%2e%2e", 400}, {"Inventories/x..ndi", 400},
		{"%2e%2e/x.ndi", 400}, {"../Inventories/x.ndi", 400},
		// Windows
		{"Inventories/CON.ndi", 400}, {"Inventories/nul.ndi.gz", 400}, {"Inventories/COM1.ndi", 400}, {"Inventories/COM%C2%B9.ndi", 400},
		{"Inventories/lpt9 .ndi", 400}, {"Inventories/lpt9%20.ndi", 400}, {"Inventories/x.ndi:ads", 400}, {"Inventories/x.ndi::$DATA", 400},
		{"Inventories/x.ndi.", 400}, {"Inventories/x.ndi%20", 400}, {"Inventories/CONSOLE.ndi", 200}, {"Inventories/COM10.ndi", 200},
		// what cannot be seen, or looks like something else
		{"Inventories/x%00.ndi", 400}, {"Inventories/x.ndi%00.exe", 400}, {"Inventories/x%0d%0a.ndi", 400}, {"Inventories/x%1b[2J.ndi", 400}, {"Inventories/x%7f.ndi", 400},
		{"Inventories/x%ff.ndi", 400}, {"Inventories/x%E2%80%AEidn.ndi", 400}, {"Inventories/x%E2%80%8B.ndi", 400}, {"Inventories/x%EF%BC%8Ey.ndi", 400},
		{"Inventories/x%EF%BC%8Fy.ndi", 400}, {"Inventories/e%CC%81.ndi", 400}, {"Inventories/%C3%A9.ndi", 200}, {"Inventories/%E2%84%AA.ndi", 400},
		{"Inventories/%E6%9D%B1%E4%BA%AC-01.ndi", 200}, {"Inventories/\xe6\x9d\xb1.ndi", 200},
		// shells, SQL, HTML, spreadsheets, templates
		{"Inventories/$(id).ndi", 400}, {"Inventories/`id`.ndi", 400}, {"Inventories/a;id.ndi", 400}, {"Inventories/a%7Cid.ndi", 400}, {"Inventories/a&b.ndi", 400},
		{"Inventories/'%20OR%201=1--.ndi", 400}, {"Inventories/%3Cscript%3E.ndi", 400}, {"Inventories/=1+1.ndi", 400}, {"Inventories/+1.ndi", 400}, {"Inventories/-rf.ndi", 400},
		{"Inventories/@SUM.ndi", 400}, {"Inventories/%7B%7B7*7%7D%7D.ndi", 400}, {"Inventories/%25s%25n.ndi", 400}, {"Inventories/a%22b.ndi", 400}, {"Inventories/*.ndi", 400},
		{"Inventories/a'b.ndi", 400}, {"Inventories/a%0Ab.ndi", 400}, {"Inventories/bob+1,(x)@home-2_a.ndi", 200},
		// extensions, hidden names, lengths
		{"Inventories/.htaccess", 400}, {"Inventories/.x.ndi", 400}, {"Inventories/x.ndi.tmp", 415}, {"Inventories/x.ndi.exe", 415}, {"Inventories/x.gz", 415},
		{"Inventories/x.ndi.gz.gz", 415}, {"Inventories/x", 415}, {"Inventories/x.NDI.GZ", 200}, {"Inventories/ndi", 415}, {"x.php", 415}, {"web.config", 415},
		{"Inventories/" + long + ".ndi", 200}, {"Inventories/" + long + "n.ndi", 400}, {"Inventories/" + strings.Repeat("n", 7000) + ".ndi", 400},
		{strings.Repeat("a/", 300) + "x.ndi", 400}, {"Inventories/%20.ndi", 400}, {"Inventories/%20x.ndi", 400}, {"Inventories/a%20b%20on%20pc%20at%2020260101T000000.ndi", 200},
		{"Inventories/x.ndi?a=../b", 200}, {"Inventories/x.ndi%3Fa", 400}, {"Inventories/x.ndi%23a", 400}, {"Inventories/x%zz.ndi", 400},
		{"Secrets/x.ndi", 415}, {"%49nventories/x.ndi", 200},
	} {
		t.Run(fmt.Sprintf("%.60q", tt.target), func(t *testing.T) {
			s := newSite(t)
			answers := say(t, wire(t, s), "PUT /ManageSoftRL/"+tt.target+" HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
			if len(answers) != 1 {
				t.Fatalf("%d answers", len(answers))
			}
			got := code(t, answers[0])
			want := map[int]string{400: "bad-name", 415: "bad-kind"}[tt.status]
			malformed := answers[0].StatusCode == 400 && got == "" // by net/http
			if answers[0].StatusCode != tt.status || got != want && !malformed {
				t.Errorf("%d %q, want %d %q", answers[0].StatusCode, got, tt.status, want)
			}
			if tt.status != 200 {
				if len(s.spool.drafts) > 0 {
					t.Errorf("stored as %q", s.spool.drafts[0].Name)
				}
				return
			}
			raw, _, _ := strings.Cut(tt.target, "?")
			name, err := url.PathUnescape(raw[strings.LastIndexByte(raw, '/')+1:])
			if d, _ := s.spool.last(t); err != nil || d.Name.String() != name {
				t.Errorf("stored as %q, want %q", d.Name, name)
			}
		})
	}
}

func TestDownloadNames(t *testing.T) {
	s := newSite(t)
	s.snapshot.files["schedules/straße ä.osd"] = object("x")
	s.snapshot.files["a.osd"] = object("x")
	var looked []string
	s.Policies = s.lookingAt(&looked)
	addr := wire(t, s)
	for _, tt := range []struct {
		target string
		status int
	}{
		{"/ManageSoftDL/Schedules/stra%C3%9Fe%20%C3%A4.osd", 200}, {"/ManageSoftDL/schedules/Stra\xc3\x9fe%20\xc3\xa4.osd", 200}, {"/managesoftdl/A.OSD", 200},
		{"http://beacon/ManageSoftDL/a.osd", 200}, {"/ManageSoftDL//a.osd", 200}, {"/ManageSoftDL/", 404}, {"/ManageSoftDL", 404}, {"/", 404}, {"//ManageSoftDL/a.osd", 404},
		{"/ManageSoftDL/../a.osd", 400}, {"/ManageSoftDL/x/../a.osd", 400}, {"/ManageSoftDL/..%2Fa.osd", 400}, {"/ManageSoftDL/x%2Fa.osd", 400}, {"/ManageSoftDL/%2e%2e/a.osd", 400},
		{`/ManageSoftDL/..\a.osd`, 400}, {"/ManageSoftDL/x%5Ca.osd", 400}, {"/ManageSoftDL/a.osd%00", 400}, {"/ManageSoftDL/%ff", 400}, {"/ManageSoftDL/%252e%252e/a.osd", 404},
		{"/ManageSoftDL/./a.osd", 400}, {"/ManageSoftDL/....//a.osd", 404}, {"/ManageSoftDL/..;/a.osd", 404}, {"/ManageSoftDL/CON", 404}, {"/../ManageSoftDL/a.osd", 404},
		{"/ManageSoftDL/" + strings.Repeat("a/", 2000) + "x", 404},
	} {
		t.Run(fmt.Sprintf("%.60q", tt.target), func(t *testing.T) {
			looked = nil
			answers := say(t, addr, "GET "+tt.target+" HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
			if len(answers) != 1 || answers[0].StatusCode != tt.status {
				t.Fatalf("%+v, want %d", answers, tt.status)
			}
			for _, p := range looked {
				if tt.status == 400 || strings.HasPrefix(p, "/") || strings.Contains("/"+p+"/", "/../") {
					t.Errorf("looked at %q", p)
				}
			}
		})
	}
}

// Class 10: requests whose body somebody else would see the end of elsewhere.
func TestFraming(t *testing.T) {
	put := func(version string, headers ...string) string {
		return "PUT " + ndi + " HTTP/" + version + "\r\nHost: b\r\n" + strings.Join(headers, "\r\n") + "\r\n"
	}
	const next = "GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct {
		name, request string
		status        int
		stored        string
		closed        bool // after the first answer
	}{
		{"length", put("1.1", "Content-Length: 5", "") + "hello", 200, "hello", false},
		{"no body", put("1.1", "Content-Length: 0", ""), 200, "", false},
		{"chunked", put("1.1", "Transfer-Encoding: chunked", "") + "5\r\nhello\r\n0\r\n\r\n", 200, "hello", true},
		{"length and chunked", put("1.1", "Content-Length: 3", "Transfer-Encoding: chunked", "") + "5\r\nhello\r\n0\r\n\r\n", 200, "hello", true},
		{"chunked and length", put("1.1", "Transfer-Encoding: chunked", "Content-Length: 30", "") + "5\r\nhello\r\n0\r\n\r\n", 200, "hello", true},
		{"two lengths", put("1.1", "Content-Length: 5", "Content-Length: 6", "") + "hello", 400, "", true},
		{"same length twice", put("1.1", "Content-Length: 5", "Content-Length: 5", "") + "hello", 200, "hello", false},
		{"negative length", put("1.1", "Content-Length: -5", "") + "hello", 400, "", true},
		{"plus length", put("1.1", "Content-Length: +5", "") + "hello", 400, "", true},
		{"length list", put("1.1", "Content-Length: 5, 5", "") + "hello", 400, "", true},
		{"unknown coding", put("1.1", "Transfer-Encoding: gzip, chunked", "") + "0\r\n\r\n", 501, "", true},
		{"identity coding", put("1.1", "Transfer-Encoding: identity", "Content-Length: 5", "") + "hello", 501, "", true},
		{"chunked twice", put("1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "") + "0\r\n\r\n", 501, "", true},
		{"bad chunk", put("1.1", "Transfer-Encoding: chunked", "") + "zz\r\nhello\r\n0\r\n\r\n", 400, "", true},
		{"chunk of 2^64", put("1.1", "Transfer-Encoding: chunked", "") + "10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "", true},
		{"1.0 length", put("1.0", "Content-Length: 5", "Connection: keep-alive", "") + "hello", 200, "hello", true},
		{"1.0 no length", put("1.0", "") + "hello", 411, "", true},
		{"1.0 no length, keep-alive", put("1.0", "Connection: keep-alive", "") + "hello", 411, "", true},
		{"1.0 chunked", put("1.0", "Transfer-Encoding: chunked", "") + "5\r\nhello\r\n0\r\n\r\n", 411, "", true},
		{"1.0 length and chunked", put("1.0", "Content-Length: 5", "Transfer-Encoding: chunked", "Connection: keep-alive", "") + "hello", 200, "hello", true},
		{"partial", put("1.1", "Content-Length: 5", "Content-Range: bytes 0-4/9", "") + "hello", 400, "", false},
		{"space before colon", put("1.1", "Content-Length : 5", "") + "hello", 400, "", true},
		{"zero in a header", put("1.1", "Content-Length: 5", "X: a\x00b", "") + "hello", 400, "", true},
		{"no host", "PUT " + ndi + " HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400, "", true},
		{"version 9.9", put("9.9", "Content-Length: 5", "") + "hello", 505, "", true},
		{"version 0.9", "GET /ManageSoftRL/\r\n", 400, "", true},
		{"unknown expectation", put("1.1", "Content-Length: 5", "Expect: coffee", "") + "hello", 417, "", true},
		{"chunked GET", "GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			answers := say(t, wire(t, s), tt.request+next)
			if len(answers) == 0 || answers[0].StatusCode != tt.status {
				t.Fatalf("answers %+v, want %d", answers, tt.status)
			}
			if got := len(answers) == 1; got != tt.closed {
				t.Errorf("%d answers; want the connection closed after the first: %v", len(answers), tt.closed)
			}
			if len(answers) > 1 && (len(answers) != 2 || answers[1].StatusCode != 200) {
				t.Errorf("what followed was answered %+v", answers[1:])
			}
			stored := tt.status == 200 && strings.HasPrefix(tt.request, "PUT")
			if len(s.spool.bodies) != map[bool]int{true: 1}[stored] || stored && s.spool.bodies[0] != tt.stored {
				t.Errorf("stored %q", s.spool.bodies)
			}
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s := newSite(t)
	addr := s.runs(t)
	for size, want := range map[int]int{8 << 10: 200, 64 << 10: 431} {
		answers := say(t, addr, "GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\nX: "+strings.Repeat("x", size)+"\r\n\r\n")
		if len(answers) != 1 || answers[0].StatusCode != want {
			t.Errorf("%d bytes: %+v, want %d", size, answers, want)
		}
	}
}

// An upload is never redirected, whatever its path.
func TestUploadIsNeverRedirected(t *testing.T) {
	s := newSite(t)
	addr := wire(t, s)
	for _, path := range []string{"/ManageSoftRL", "/ManageSoftRL//Inventories/x.ndi", "/ManageSoftRL/Inventories//x.ndi", "//ManageSoftRL/Inventories/x.ndi",
		"/x/../ManageSoftRL/Inventories/x.ndi", "/ManageSoftRL/./x.ndi", "/ManageSoftRL/Inventories", "/managesoftrl/inventories/X.ndi"} {
		answers := say(t, addr, "PUT "+path+" HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
		if len(answers) != 1 || answers[0].StatusCode/100 == 3 || answers[0].Header.Get("Location") != "" {
			t.Errorf("%s: %+v", path, answers)
		}
	}
	if resp := ask(s.Handler(), "PUT", "/managesoftrl/inventories/X.ndi", "x"); resp.StatusCode != 200 {
		t.Errorf("the honest twin: %d", resp.StatusCode)
	}
}

// A sender on a real socket that reads nothing before it has written all of its
// body still finds the refusal, although nobody wanted the body.
func TestSenderThatReadsLastFindsRefusal(t *testing.T) {
	s := newSite(t)
	s.full = true
	addr := s.runs(t)
	for range 5 {
		answers := say(t, addr, fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", ndi, 6<<20, strings.Repeat("x", 6<<20)))
		if len(answers) != 1 || answers[0].StatusCode != 507 || code(t, answers[0]) != "spool-full" {
			t.Fatalf("%+v", answers)
		}
	}
}

// What a stalled sender is told names no address of this side.
func TestStalledAnswerNamesNoAddress(t *testing.T) {
	s := newSite(t)
	s.Idle = 50 * time.Millisecond
	addr := wire(t, s)
	answers := say(t, addr, "PUT "+aLog+" HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhel")
	if len(answers) != 1 || answers[0].StatusCode != 408 {
		t.Fatalf("%d answers", len(answers))
	}
	if said := text(t, answers[0]); !strings.Contains(said, `"stalled"`) || strings.Contains(said, "127.0.0.1") {
		t.Error(said)
	}
}
