// Command grpc is a gRPC server for tests, and its clients. The server offers health checking and
// reflection, and says in the header `served-by` which pod answered.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	check "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
)

const usage = `expected one of
  grpc serve PORT                   until SIGTERM, then ends what has begun
  grpc call HOST:PORT               one call
  grpc watch HOST:PORT              one stream, until it ends
  grpc load HOST:PORT PER-SECOND    calls until standard input ends or SIGTERM comes; then says as JSON what became of them`

// How long a call may take.
const patience = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New(usage)
	}
	if args[0] == "serve" {
		return serve(ctx, args[1])
	}
	connection, err := grpc.NewClient(args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := check.NewHealthClient(connection)
	switch {
	case args[0] == "call":
		return call(ctx, client, os.Stdout)
	case args[0] == "watch":
		return watch(ctx, client)
	case args[0] == "load" && len(args) == 3:
		return load(ctx, client, args[2])
	}
	return errors.New(usage)
}

func serve(ctx context.Context, port string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	served := metadata.Pairs("served-by", host)
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := grpc.SetHeader(ctx, served); err != nil {
				return nil, err
			}
			return next(ctx, request)
		}),
		grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := stream.SetHeader(served); err != nil {
				return err
			}
			return next(server, stream)
		}))
	healthy := health.NewServer()
	check.RegisterHealthServer(server, healthy)
	reflection.Register(server)
	go func() {
		<-ctx.Done()
		healthy.Shutdown()
		server.GracefulStop()
	}()
	return server.Serve(listener)
}

func call(ctx context.Context, client check.HealthClient, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var header metadata.MD
	answer, err := client.Check(ctx, &check.HealthCheckRequest{}, grpc.Header(&header))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, answer.Status, header["served-by"])
	return nil
}

func watch(ctx context.Context, client check.HealthClient) error {
	stream, err := client.Watch(ctx, &check.HealthCheckRequest{})
	for err == nil {
		var answer *check.HealthCheckResponse
		if answer, err = stream.Recv(); err == nil {
			fmt.Println(answer.Status)
		}
	}
	return err
}

// report is what became of the calls of a load.
type report struct {
	Answered int            `json:"answered"`
	Failed   int            `json:"failed"`
	Errors   map[string]int `json:"errors"`
}

// load begins each call on time, whether or not those before it were answered.
func load(ctx context.Context, client check.HealthClient, rate string) error {
	perSecond, err := strconv.Atoi(rate)
	if err != nil || perSecond < 1 {
		return fmt.Errorf("expected a number of calls a second, found %q", rate)
	}
	ctx, stop := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	results := make(chan error, 1024)
	told := report{Errors: map[string]int{}}
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	take := func(err error) {
		if err == nil {
			told.Answered++
			return
		}
		told.Failed++
		told.Errors[err.Error()]++
	}
	open, done := 0, ctx.Done()
	for done != nil || open > 0 {
		select {
		case <-done:
			done = nil
			tick.Stop()
		case <-tick.C:
			open++
			// A call that has begun is waited for after the end, too.
			go func() { results <- call(context.Background(), client, io.Discard) }()
		case err := <-results:
			open--
			take(err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}
