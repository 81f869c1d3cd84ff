// An express app as people write them: one process that binds by itself and knows nothing of clusterd.
const express = require('express');
const bodyParser = require('body-parser');

const app = express();
let visits = 0;
app.use(bodyParser.json());

app.get('/get', (req, res) => res.json({ pid: process.pid }));
app.get('/crash', () => process.kill(process.pid, 'SIGKILL'));
app.post('/post', (req, res) => res.json({ pid: process.pid, body: req.body }));
app.use((error, req, res, next) => {
	res.status(error.status || 500).json({ error: error.message });
});

const server = app.listen(process.env.PORT || 1337);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
