// Reads pay events from NATS, each once, in the order of each order: a durable consumer that may be killed at any time.
//
//	NATS_URL_FILE=nats_url_finance JOURNAL=events.jsonl go run consumer.go
//
// NATS_URL_FILE is a file with the subscriber's address, as deploy/make-secrets.sh writes it; the durable consumer has
// the name of the user in it, and the admin made it before. JOURNAL stands for your database: an event and what you do
// about it belong in one transaction there, with a unique index on the event's id.
//
// Delivery is at least once: a kill between the write and the acknowledgement brings the event again, and its id tells.
// Any error ends the program, so that its supervisor starts it again; nothing is skipped.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A journal has one event per line, on the disk before it is acknowledged.
type journal struct {
	file *os.File
	ids  map[string]bool
}

type event struct {
	ID string `json:"id"`
}

func open(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ids, whole, reader := map[string]bool{}, int64(0), bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			// A kill in the middle of a write leaves a piece of a line, which was not acknowledged.
			return &journal{file, ids}, file.Truncate(whole)
		}
		if err != nil {
			return nil, err
		}
		var known event
		if err := json.Unmarshal(line, &known); err != nil {
			return nil, err
		}
		ids[known.ID] = true
		whole += int64(len(line))
	}
}

func (j *journal) record(data []byte) error {
	var read event
	var line bytes.Buffer
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	if j.ids[read.ID] {
		return nil
	}
	if err := json.Compact(&line, data); err != nil {
		return err
	}
	line.WriteByte('\n')
	if _, err := j.file.Write(line.Bytes()); err != nil {
		return err
	}
	j.ids[read.ID] = true
	return j.file.Sync()
}

func consume() error {
	text, err := os.ReadFile(os.Getenv("NATS_URL_FILE"))
	if err != nil {
		return err
	}
	address, err := url.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return errors.New("the file of NATS_URL_FILE holds no address")
	}
	name := address.User.Username()
	journal, err := open(os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	// The subscriber may listen to no other inboxes than those of its own.
	inboxes := nats.CustomInboxPrefix("_INBOX_" + name)
	connection, err := nats.Connect(address.String(), nats.Name(name), inboxes, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	stream, err := connection.JetStream()
	if err != nil {
		return err
	}
	// The client asks for the consumer's filter, which the admin chose.
	info, err := stream.ConsumerInfo("PAY_EVENTS", name)
	if err != nil {
		return err
	}
	subscription, err := stream.PullSubscribe(info.Config.FilterSubject, name, nats.Bind("PAY_EVENTS", name))
	if err != nil {
		return err
	}
	for {
		messages, err := subscription.Fetch(1, nats.MaxWait(30*time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			continue
		}
		if err != nil {
			return err
		}
		for _, message := range messages {
			if err := journal.record(message.Data); err != nil {
				return err
			}
			if err := message.AckSync(); err != nil {
				return err
			}
		}
	}
}

func main() {
	log.Fatal(consume())
}
