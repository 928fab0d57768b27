package document_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"inventorybeacon/uploads/document"
)

const sound = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">
<!-- made by nobody -->
<Inventory Tracker="16.0" Scope="example.com" machinename='ws1' Type="Full">
  <Hardware Class="x" Name="a &amp; b &#x41; &lt;"/>
  <Hardware
     Class = "Größe" ></Hardware >
  <?skip this?><![CDATA[ <not> &markup; ]] > ]]>
  text ] with ]] brackets > &apos;
</Inventory>
<!-- the end --> <?bye?>
`

var origin = document.Root{Name: "Inventory", Machine: "ws1", Scope: "example.com"}

func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func TestSoundDocumentsAreRead(t *testing.T) {
	real, err := os.ReadFile("../../testdata/inventories/debian12.ndi")
	if err != nil {
		t.Fatal(err)
	}
	wide := strings.ReplaceAll(sound, "utf-8", "utf-16")
	for name, tt := range map[string]struct {
		text string
		want document.Root
	}{
		"plain":                  {sound, origin},
		"with the mark of UTF-8": {"\xef\xbb\xbf" + sound, origin},
		"UTF-16":                 {utf16le(wide), origin},
		"UTF-16 without a mark":  {utf16le(wide)[2:], origin},
		"says UTF-16, is not":    {wide, origin},
		"another charset":        {"<?xml version='1.0' encoding='windows-1252'?><Inventory MachineName='ws1' Scope='example.com'>\x80\xe9</Inventory>", origin},
		"a style sheet":          {`<?xml-stylesheet href="x"?>` + sound[strings.Index(sound, "<!DOC"):], origin},
		"as the agent writes it": {string(real), document.Root{Name: "Inventory", Machine: "ws0042", Scope: "EXAMPLE"}},
		"usage": {`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE USAGE PUBLIC "USAGE" "http://www.managesoft.com/usagelog.dtd">
<USAGE VERSION="1.00"><MD NAME="ws0042"><USAGE USER="jdoe"><APPUSAGE NAME="Reader (11)" /></USAGE></MD></USAGE>`, document.Root{Name: "USAGE"}},
		"depth at the limit": {strings.Repeat("<a>", document.MaxDepth) + strings.Repeat("</a>", document.MaxDepth), document.Root{Name: "a"}},
		"a long value":       {"<a b='" + strings.Repeat("x", document.MaxToken/2) + "'/>", document.Root{Name: "a"}},
		"a long name":        {"<" + strings.Repeat("a", document.MaxName) + "/>", document.Root{Name: strings.Repeat("a", document.MaxName)}},
		"a prefix":           {"<i:Inventory xmlns:i='x' i:MachineName='ws1' Scope='example.com'/>", origin},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.text))} {
			if got, err := document.Read(r); err != nil || got != tt.want {
				t.Errorf("%s, %s: %+v, %v", name, how, got, err)
			}
		}
		if got, err := document.Begin(strings.NewReader(tt.text)); err != nil || got != tt.want {
			t.Errorf("%s, its beginning: %+v, %v", name, got, err)
		}
	}
}

func TestBrokenDocumentsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"text":                     "MachineName=ws1",
		"two roots":                "<a/><b/>",
		"text behind the root":     "<a/>x",
		"wrong end tag":            "<a><b></a></b>",
		"end tag of a longer name": "<ab></a>",
		"unquoted value":           "<a b=c/>",
		"no space":                 "<a b='c'd='e'/>",
		"less-than in a value":     "<a b='<'/>",
		"]]> in a text":            "<a>]]></a>",
		"two hyphens":              "<a><!-- -- --></a>",
		"undefined entity":         "<a>&nbsp;</a>",
		"bare ampersand":           "<a>a & b</a>",
		"reference to NUL":         "<a>&#0;</a>",
		"reference to half a pair": "<a>&#xD800;</a>",
		"reference too far":        "<a>&#x110000;</a>",
		"control character":        "<a>\x01</a>",
		"control in a value":       "<a b='\x1b'/>",
		"NUL":                      "<a>\x00</a>",
		"not UTF-8":                "<a>\xff</a>",
		"not UTF-8 in a name":      "<a\xff/>",
		"U+FFFE":                   "<a>\ufffe</a>",
		"late declaration":         "<a><?xml version='1.0'?></a>",
		"second document type":     "<!DOCTYPE a SYSTEM 'x'><!DOCTYPE a SYSTEM 'x'><a/>",
		"document type inside":     "<a><!DOCTYPE a SYSTEM 'x'></a>",
		"internal subset":          `<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>`,
		"both subsets":             `<!DOCTYPE a SYSTEM "http://192.0.2.1/x.dtd" [<!ENTITY % e SYSTEM "file:///etc/passwd">%e;]><a/>`,
		"empty internal subset":    `<!DOCTYPE a []><a/>`,
		"unknown encoding":         "<?xml version='1.0' encoding='utf-7'?><a/>",
		"version 2":                "<?xml version='2.0'?><a/>",
		"too deep":                 strings.Repeat("<a>", document.MaxDepth+1),
		"too many attributes":      "<a " + attributes(document.MaxAttributes+1) + "/>",
		"name too long":            "<" + strings.Repeat("a", document.MaxName+1) + "/>",
		"value too long":           "<a b='" + strings.Repeat("x", 2*document.MaxToken) + "'/>",
		"comment too long":         "<!--" + strings.Repeat("x", 2*document.MaxToken) + "--><a/>",
		"nothing but spaces":       strings.Repeat(" ", 2*document.MaxToken) + "<a/>",
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			_, err := document.Read(r)
			if bad, ok := errors.AsType[*document.Error](err); !ok || bad.At > int64(len(text)) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
	}
	if _, err := document.Read(strings.NewReader("<a " + attributes(document.MaxAttributes) + "/>")); err != nil {
		t.Errorf("as many attributes as may be: %v", err)
	}
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d='x'", i)
	}
	return b.String()
}

func TestEveryBeginningOfADocumentEndsEarly(t *testing.T) {
	end := strings.Index(sound, "</Inventory>") + len("</Inventory>")
	for n := range end {
		if _, err := document.Read(strings.NewReader(sound[:n])); err != io.ErrUnexpectedEOF {
			t.Fatalf("%q: %v", sound[max(0, n-20):n], err)
		}
	}
	if _, err := document.Read(strings.NewReader(sound[:end])); err != nil {
		t.Errorf("whole: %v", err)
	}
}

func TestReadersErrorComesThrough(t *testing.T) {
	broken := errors.New("broken")
	for n := range len(sound) {
		_, err := document.Read(io.MultiReader(strings.NewReader(sound[:n]), iotest.ErrReader(broken)))
		if err != broken {
			t.Fatalf("after %d: %v", n, err)
		}
	}
}

// repeated reads n times the same, without holding it.
type repeated struct {
	head, text, tail string
	n                int
	at               string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.at == "" {
		switch {
		case r.head != "":
			r.at, r.head = r.head, ""
		case r.n > 0:
			r.at, r.n = r.text, r.n-1
		case r.tail != "":
			r.at, r.tail = r.tail, ""
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.at)
	r.at = r.at[n:]
	return n, nil
}

func TestMemoryIsConstant(t *testing.T) {
	for name, tt := range map[string]struct {
		r  *repeated
		ok bool
	}{
		"very many elements side by side": {&repeated{head: "<a>", text: "<b c='d'>e</b>", n: 2e5, tail: "</a>"}, true},
		"a million nested":                {&repeated{text: "<a>", n: 1e6}, false},
		"a value without end":             {&repeated{head: "<a b='", text: "0123456789", n: 1e7}, false},
		"references without end":          {&repeated{head: "<a b='", text: "&#x1F600;", n: 1e7}, false},
		"a name without end":              {&repeated{head: "<", text: "a", n: 1e7}, false},
		"instructions without end":        {&repeated{head: "<a>", text: "<?b?>", n: 2e5, tail: "</a>"}, true},
	} {
		document.Read(strings.NewReader("<a/>")) // the pool has its scanner
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := document.Read(tt.r)
		runtime.ReadMemStats(&after)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 256<<10 {
			t.Errorf("%s: %d bytes were allocated", name, grown)
		}
	}
}

// FuzzRead compares with the standard library's parser: whatever is taken here
// it must take too, so that nothing broken passes.
func FuzzRead(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte(utf16le(sound)))
	for _, s := range []string{"<a b='c'/>", "<a>]]&gt;</a>", "<!DOCTYPE a SYSTEM 'x'><a>&#65;</a>", "<a:b c:d='e'><![CDATA[]]]]></a:b>", "<a><!-- - --></a>", "<?xml version='1.0'?><a/>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := document.Read(bytes.NewReader(b))
		slow, slowErr := document.Read(iotest.OneByteReader(bytes.NewReader(b)))
		if err == nil && root != slow || (err == nil) != (slowErr == nil) {
			t.Fatalf("in one piece %+v, %v; in many %+v, %v", root, err, slow, slowErr)
		}
		if err == nil && comparable(b) {
			if err := parse(b); err != nil {
				t.Fatalf("%q was taken: %v", b, err)
			}
		}
	})
}

// comparable leaves out what the standard library reads otherwise: other
// encodings, letters that no name may have, and versions.
func comparable(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0 {
			return false
		}
	}
	return !bytes.Contains(b, []byte("<?xml"))
}

func parse(b []byte) error {
	dec := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	for {
		if _, err := dec.RawToken(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func BenchmarkRead(b *testing.B) {
	text, err := os.ReadFile("../../testdata/inventories/debian12.ndi")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := document.Read(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
