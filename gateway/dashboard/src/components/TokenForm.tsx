import { useId, useState } from 'react';

interface TokenFormProps {
  /** Why the gateway refused what was entered before; null if nothing was. */
  readonly problem: string | null;
  readonly onEnter: (token: string) => void;
}

/** Asks for a token or API key, where the gateway requires one. */
export function TokenForm({ problem, onEnter }: TokenFormProps) {
  const [entered, setEntered] = useState('');
  const id = useId();
  return (
    <section className="panel waiting">
      <form
        className="token"
        onSubmit={(event) => {
          event.preventDefault();
          if (entered.trim() === '') return;
          onEnter(entered);
          setEntered('');
        }}
      >
        <label htmlFor={id}>This gateway asks who you are. API key or token:</label>
        <input
          id={id}
          type="password"
          autoComplete="off"
          spellCheck={false}
          value={entered}
          onChange={(event) => {
            setEntered(event.target.value);
          }}
        />
        <button type="submit">Enter</button>
        {problem === null ? null : <p role="alert">{problem}</p>}
      </form>
    </section>
  );
}
