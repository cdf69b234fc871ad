// The same upload with Go's standard library, as one would write it for good: a reader, a bounded channel, goroutines that
// encode and send, connections that are kept, and a few tries.
//
//	peer FILE ENDPOINT THREADS
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	capacity = 1000
	tries    = 5
)

type alias struct {
	Label string `json:"alias_label"`
	Name  string `json:"alias_name"`
}

type change struct {
	UserIDs      []string `json:"user_ids,omitempty"`
	DeviceIDs    []string `json:"device_ids,omitempty"`
	Aliases      []alias  `json:"aliases,omitempty"`
	ShouldRemove bool     `json:"should_remove"`
	count        int
}

type request struct {
	PartnerKey string    `json:"partner_api_key"`
	Secret     string    `json:"client_secret"`
	CohortID   string    `json:"cohort_id"`
	Changes    []*change `json:"cohort_changes"`
}

type uploader struct {
	client *http.Client
	url    string
}

func newUploader(endpoint string, threads int) *uploader {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = threads
	transport.MaxIdleConnsPerHost = threads
	return &uploader{
		client: &http.Client{Transport: transport, Timeout: time.Minute},
		url:    endpoint + "/partners/treasure_data/cohorts/users",
	}
}

// post sends a body once, and returns whether another try makes sense.
func (u *uploader) post(body []byte) (again bool, err error) {
	response, err := u.client.Post(u.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return true, err
	}
	defer response.Body.Close()
	// A connection is kept only if the answer was read to its end.
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return true, err
	}
	if response.StatusCode/100 == 2 {
		return false, nil
	}
	return response.StatusCode == 429 || response.StatusCode >= 500, fmt.Errorf("answered with %s", response.Status)
}

func (u *uploader) send(body []byte) error {
	pause := 500 * time.Millisecond
	for try := 1; ; try++ {
		again, err := u.post(body)
		if err == nil || !again || try == tries {
			return err
		}
		time.Sleep(pause)
		pause *= 2
	}
}

func (u *uploader) work(queue <-chan *change) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	for next := range queue {
		body.Reset()
		if err := encoder.Encode(request{"a partner key", "a data import key", "members", []*change{next}}); err != nil {
			return err
		}
		if err := u.send(body.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func read(input io.Reader, queue chan<- *change) error {
	rows := csv.NewReader(input)
	rows.ReuseRecord = true
	first, err := rows.Read()
	if err != nil {
		return err
	}
	header := append([]string(nil), first...)
	next := &change{}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for column, cell := range row {
			if cell == "" {
				continue
			}
			switch name := header[column]; name {
			case "user_ids":
				next.UserIDs = append(next.UserIDs, cell)
			case "device_ids":
				next.DeviceIDs = append(next.DeviceIDs, cell)
			case "email", "phone":
				next.Aliases = append(next.Aliases, alias{name, cell})
			default:
				continue
			}
			if next.count++; next.count == capacity {
				queue <- next
				next = &change{UserIDs: make([]string, 0, len(next.UserIDs)+16)}
			}
		}
	}
	if next.count > 0 {
		queue <- next
	}
	return nil
}

func run(path, endpoint string, threads int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var input io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if input, err = gzip.NewReader(file); err != nil {
			return err
		}
	}
	uploader := newUploader(endpoint, threads)
	queue := make(chan *change, threads)
	var workers sync.WaitGroup
	for i := 0; i < threads; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			if err := uploader.work(queue); err != nil {
				fail(err)
			}
		}()
	}
	err = read(input, queue)
	close(queue)
	workers.Wait()
	return err
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 4 {
		fail(errors.New("FILE ENDPOINT THREADS"))
	}
	threads, err := strconv.Atoi(os.Args[3])
	if err != nil {
		fail(err)
	}
	if err := run(os.Args[1], os.Args[2], threads); err != nil {
		fail(err)
	}
}
